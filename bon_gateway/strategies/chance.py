"""Shared by the strategies that draw the winner instead of taking the best."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from bon_common.selection.gumbel import gumbel_order
from bon_gateway.strategies.decide import contenders, led_by, rank
from bon_gateway.types import Candidate, ChatRequest

LogWeights = Callable[[Sequence[float]], Sequence[float]]
"""From the rewards of those that may win to their log weights, in the same order."""


def by_chance(
    request: ChatRequest, candidates: Sequence[Candidate], log_weights: LogWeights
) -> tuple[int, ...]:
    """Positions of the usable candidates: first the contenders that have a reward, in an order
    drawn without replacement, then the others, and those without a chance, in the order of
    ``rank``. If no contender has a reward, all are in that order.

    With the request's seed the noise belongs to each candidate's position, so that the same rewards
    give the same order.
    """
    scored = {
        position: reward
        for position in contenders(candidates)
        if (reward := candidates[position].reward) is not None
    }
    if not scored:
        return rank(candidates)
    weights = [-math.inf] * len(candidates)
    for position, weight in zip(scored, log_weights([*scored.values()]), strict=True):
        weights[position] = weight
    return led_by(gumbel_order(weights, request.seed), candidates)
