"""Which candidate wins: pure functions of what was drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bon_gateway.types import EMPTY, Candidate, CandidateStatus

USABLE = (CandidateStatus.FINISHED, CandidateStatus.TRUNCATED)
"""The only candidates that may win."""


def rank(candidates: Sequence[Candidate]) -> tuple[int, ...]:
    """Positions of the usable candidates, best first.

    A candidate with an answer beats one without, a finished one a truncated one, a scored one an
    unscored one, then the higher raw reward wins and ties go to the lower index. Without any
    rewards this is the order of index.
    """

    order = [
        (
            candidate.tier,
            candidate.status is not CandidateStatus.FINISHED,
            math.inf if candidate.reward is None else -candidate.reward,
            candidate.index,
            position,
        )
        for position, candidate in enumerate(candidates)
        if candidate.status in USABLE
    ]
    order.sort()
    return tuple([place[-1] for place in order])


def all_empty(candidates: Sequence[Candidate]) -> tuple[int, ...]:
    """Positions of the candidates that ended at once without a word, if every one did: that is
    then the model's answer. A stop string that matches at once is the usual cause."""
    if all(c.status is CandidateStatus.INVALID and c.reason == EMPTY for c in candidates):
        return tuple(range(len(candidates)))
    return ()
