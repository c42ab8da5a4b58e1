"""Texts that a judging chat model sees, and rewards from its verdicts: pure functions."""
