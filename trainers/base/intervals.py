"""95 % confidence intervals of a share and of a mean. Standard library only."""

from __future__ import annotations

import random
from collections.abc import Sequence
from math import sqrt
from statistics import fmean

Bounds = tuple[float, float]
"""The lower and the upper end."""

Z = 1.959964
"""The 97.5 % quantile of the normal distribution."""
RESAMPLES = 2000


def wilson(share: float, count: int) -> Bounds:
    """The interval of a share of ``count`` independent trials (Wilson 1927). Unlike mean and
    standard error it stays within 0 and 1, and has a width where all trials went alike.

    Raises ValueError without any trial.
    """
    if count < 1:
        raise ValueError("an interval needs at least one trial")
    weight = Z * Z / count
    middle = (share + weight / 2) / (1 + weight)
    half = Z / (1 + weight) * sqrt(share * (1 - share) / count + weight / (4 * count))
    # Where all trials went alike, rounding would leave the share itself just outside.
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def bootstrap(values: Sequence[float]) -> Bounds:
    """The interval of a mean: the 2.5 % and 97.5 % quantiles of the means of resampled values.
    The same values give the same interval. It is a little too narrow for few values."""
    rng = random.Random(0)
    means = sorted(fmean(rng.choices(values, k=len(values))) for _ in range(RESAMPLES))
    cut = round(RESAMPLES * 0.025)
    return means[cut], means[-cut - 1]
