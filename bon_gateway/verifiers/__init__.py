"""Verifiers: what says of an answer that it is right, wrong, or that it cannot tell.

A served model's ``verifier`` has its candidates verified before the best is chosen. A reward of
type ``verifiers`` makes rewards of verdicts. Each kind has a file with its settings and its class;
``kinds`` names them, ``panel`` asks those of one served model. Nothing here runs code that a model
wrote: that takes a runner of the operator's, behind ``http``.
"""
