"""Combines the rewards that several reward models give one answer.

Where the members disagree, none can be trusted: the lowest of their rewards, or their mean minus
their variance, is harder to exploit than the reward of one (Coste et al. 2023, arXiv:2310.02743).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal

Combine = Literal["mean", "min", "mean_minus_variance"]


def combine(values: Sequence[float], how: Combine, penalty: float = 1.0) -> float:
    """One reward from the members' standardised rewards of the same answer.

    Raw rewards differ in zero point and scale, because a loss on differences leaves both open. So
    each member's rewards must first be standardised by its own mean and spread. ``penalty`` is the
    weight of the variance.
    """
    if how == "min":
        return min(values)
    mean = statistics.fmean(values)
    return mean if how == "mean" else mean - penalty * statistics.pvariance(values, mean)
