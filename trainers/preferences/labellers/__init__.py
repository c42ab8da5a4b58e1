"""Labellers: each looks at the answers to one prompt and says which are better.

A labeller is a file with a subclass of `base.Labeller`: its settings, and how it labels. `registry`
finds all of them in this folder.
"""
