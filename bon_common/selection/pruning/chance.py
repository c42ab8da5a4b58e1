"""Each candidate's chance to become the best of all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from operator import mul

REACH = 9.0
"""Standard deviations beyond which a Gaussian counts as 0: 1e-19 lies there."""
NODES = 16
PANEL = 2.0
"""Width of a panel in the smallest standard deviation: with 16 nodes the error is below 1e-12."""
MOST_PANELS = 64
"""Bounds the work where the deviations differ by more than a factor of 7."""


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of a candidate's final reward: Gaussian, in the unit of the rewards."""

    mean: float
    deviation: float
    """Above 0."""


def chances_to_win(beliefs: Sequence[Belief], incumbent: float | None = None) -> list[float]:
    """For each of M candidates the chance that its reward is above those of all others and above
    ``incumbent``, the best reward that is known; they are independent.

    P_i = integral over x > incumbent of phi_i(x) prod_{j != i} Phi_j(x), by Gauss and Legendre. The
    sum over all is 1 without an incumbent, and 1 - prod_j Phi_j(incumbent) with one. Raises
    ValueError unless every deviation is above 0.
    """
    if not beliefs:
        return []
    if not all(belief.deviation > 0 for belief in beliefs):
        raise ValueError("every deviation must be above 0")
    low = max(belief.mean - REACH * belief.deviation for belief in beliefs)
    high = max(belief.mean + REACH * belief.deviation for belief in beliefs)
    if incumbent is not None:
        low = max(low, incumbent)
    chances = [0.0] * len(beliefs)
    for x, weight in _places(low, high, min(belief.deviation for belief in beliefs)):
        scores = [(x - belief.mean) / belief.deviation for belief in beliefs]
        below = [0.5 * math.erfc(-score / math.sqrt(2)) for score in scores]
        # Products from both sides, because a quotient fails where a factor is 0.
        before = [1.0, *accumulate(below[:-1], mul)]
        after = [1.0, *accumulate(below[:0:-1], mul)][::-1]
        for place, score in enumerate(scores):
            density = math.exp(-0.5 * score * score) / beliefs[place].deviation
            chances[place] += weight * density * before[place] * after[place]
    return [chance / math.sqrt(2 * math.pi) for chance in chances]


def _places(low: float, high: float, narrowest: float) -> list[tuple[float, float]]:
    """Where the integrand is taken between ``low`` and ``high``, with the weights."""
    if low >= high:
        return []
    panels = min(MOST_PANELS, math.ceil((high - low) / (PANEL * narrowest)))
    half = (high - low) / panels / 2
    return [
        (low + half * (2 * panel + 1 + node), half * weight)
        for panel in range(panels)
        for node, weight in _legendre(NODES)
    ]


@cache
def _legendre(count: int) -> tuple[tuple[float, float], ...]:
    """Nodes and weights of Gauss and Legendre on [-1, 1], by Newton's method."""
    found = []
    for place in range(count):
        x = math.cos(math.pi * (place + 0.75) / (count + 0.5))
        slope = 1.0
        for _ in range(100):
            before, value = 1.0, x
            for degree in range(2, count + 1):
                before, value = (
                    value,
                    ((2 * degree - 1) * x * value - (degree - 1) * before) / degree,
                )
            slope = count * (x * value - before) / (x * x - 1)
            step = value / slope
            x -= step
            if abs(step) < 1e-15:
                break
        found.append((x, 2 / ((1 - x * x) * slope * slope)))
    return tuple(found)
