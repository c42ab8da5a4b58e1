"""Whether the answers of a cheap model will do, or a better one is asked too."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto


class Escalation(Enum):
    GOOD_ENOUGH = auto()
    """The answers will do."""
    ESCALATE = auto()
    UNJUDGED = auto()
    """There are answers, but nothing is known of their worth."""


def escalation(rewards: Sequence[float | None], threshold: float, wanted: int) -> Escalation:
    """Whether ``wanted`` of the answers are good enough: their rewards reach the threshold.

    ``rewards`` are raw, one for each answer that could win, None if it has none. Without any answer
    it is ESCALATE: the better model may have one. With answers and no reward it is UNJUDGED.

    A cascade with a threshold on a score of the cheap model's answer: FrugalGPT (arXiv 2305.05176).
    Raises ValueError if ``wanted`` is below 1.
    """
    if wanted < 1:
        raise ValueError(f"wanted must be at least 1, got {wanted}")
    known = [reward for reward in rewards if reward is not None]
    if rewards and not known:
        return Escalation.UNJUDGED
    good = sum(reward >= threshold for reward in known)
    return Escalation.GOOD_ENOUGH if good >= wanted else Escalation.ESCALATE
