"""Labellers: each looks at the answers to one prompt and says which are better.

A labeller is a file: its settings, which open it, and its class, with the face of
`protocol.Labeller`. `registry` names all of them.
"""
