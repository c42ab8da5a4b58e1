"""Several rewards in the order of their importance, as one number.

The first decides unless two answers are about equal by it; then the second does, and so on. "Less
than a tolerance apart" is not an order: a could equal b, and b equal c, while a beats c. So each
reward but the last is rounded down to steps of the tolerance, and rewards on the same step are
equal. The steps become the digits of one number, the first reward's the highest, so that numbers of
different calls and requests compare, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

FARTHEST = 8.0
"""Standard deviations from the mean beyond which rewards count as equally good or bad."""
MANTISSA = 52
LAST = 14
"""Bits left for the last reward. Its steps are then a thousandth of a standard deviation."""


def lexicographic(values: Sequence[float], tolerance: float) -> float:
    """One number from the standardised rewards of an answer, the most important first.

    It is the first reward, rounded to its step, plus less than one step for all others. A single
    reward stays as it is. ``most_ranked`` is the largest number of rewards that fit.
    """
    if len(values) == 1:
        return values[0]
    first, *middle, last = values
    base = _steps(tolerance)
    # From the least important up: each is a fraction of the step before it.
    below = (_kept(last) + FARTHEST) / (2 * FARTHEST + 1)
    for value in reversed(middle):
        below = (math.floor((_kept(value) + FARTHEST) / tolerance) + below) / base
    return tolerance * (math.floor(_kept(first) / tolerance) + below)


def most_ranked(tolerance: float) -> int:
    """The most rewards whose order one number can hold; at least 2."""
    bits = math.log2(_steps(tolerance))
    return 2 + max(0, int((MANTISSA - LAST - bits) / bits))


def _steps(tolerance: float) -> int:
    """Number of different steps of one reward."""
    return math.floor(2 * FARTHEST / tolerance) + 1


def _kept(value: float) -> float:
    return max(-FARTHEST, min(FARTHEST, value))
