"""The reward of an answer without the part that its length alone explains.

Reward models like long answers, so best-of-N would choose length. The slope is fitted within
prompts (``within.WithinSums``).
"""

from __future__ import annotations


def without_length(reward: float, length: float, slope: float, reference: float) -> float:
    """The reward that the answer would have with the ``reference`` length."""
    return reward - slope * (length - reference)
