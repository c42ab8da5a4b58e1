"""Which candidate wins: pure functions of the candidates."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bon_gateway.types import EMPTY, Candidate, CandidateStatus

USABLE = (CandidateStatus.FINISHED, CandidateStatus.TRUNCATED)
"""The only candidates that may win."""


def rank(candidates: Sequence[Candidate]) -> tuple[int, ...]:
    """Positions of the usable candidates, best first.

    A candidate with an answer beats one without, then a finished one beats a truncated one, a
    scored one an unscored one, and the higher raw reward the lower. Ties go to the lower index.
    Without any rewards this is the order of index.
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


def contenders(candidates: Sequence[Candidate]) -> tuple[int, ...]:
    """Positions, in the order of ``rank``, from which a strategy with its own rule chooses: the
    finished candidates with an answer, or the next best kind if there are none."""
    order = rank(candidates)
    kinds = [(candidates[p].tier, candidates[p].status) for p in order]
    return tuple([p for p, kind in zip(order, kinds, strict=True) if kind == kinds[0]])


def rank_by_confidence(candidates: Sequence[Candidate]) -> tuple[int, ...]:
    """Positions of the usable candidates: first the contenders that have a confidence, the most
    confident first, then the others in the order of ``rank``. Ties go to the lower index."""
    order = [
        (-confidence, candidates[position].index, position)
        for position in contenders(candidates)
        if (confidence := candidates[position].confidence) is not None
    ]
    order.sort()
    return led_by([place[-1] for place in order], candidates)


def led_by(best: Sequence[int], candidates: Sequence[Candidate]) -> tuple[int, ...]:
    """``best`` first, then the other usable candidates in the order of ``rank``."""
    return (*best, *[position for position in rank(candidates) if position not in best])


def all_empty(candidates: Sequence[Candidate]) -> tuple[int, ...]:
    """All positions, if every candidate ended at once without a word: then that is the model's
    answer. The usual cause is a stop string that matches at once. Otherwise none."""
    if all(c.status is CandidateStatus.INVALID and c.reason == EMPTY for c in candidates):
        return tuple(range(len(candidates)))
    return ()
