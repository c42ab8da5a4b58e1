"""Whether a figure stays flat over time: what a long run tells about leaks.

A line through points by least squares follows whatever was odd at either end; the median of the
slopes between all pairs does not.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True, slots=True)
class Trend:
    level: float
    """The median value."""
    growth: float
    """What the slope adds from the first point to the last."""


def trend(points: Sequence[tuple[float, float]]) -> Trend:
    """Of (time, value) points in the order of their times, two of them at least."""
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2)]
    span = points[-1][0] - points[0][0]
    level = statistics.median(value for _, value in points)
    return Trend(level, statistics.median(slopes) * span)
