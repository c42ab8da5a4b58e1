"""Verifiers say whether an answer is right or wrong, or abstain.

A served model's ``verifier`` checks its candidates before the best is chosen. A reward of type
``verifiers`` turns verdicts into rewards. Each kind has a file with its settings and its class;
``kinds`` lists them, ``panel`` asks the verifiers of one served model. Nothing here runs code that
a model wrote: that needs the operator's own runner, behind ``http``.
"""
