"""A policy whose candidates come from several policies, or from one that is asked in several ways.

``settings`` says what the variants are, ``prompt`` how a request becomes a variant's, ``policy``
deals the candidates out.
"""
