"""What several reward models of one answer say together.

Where members disagree none can be trusted: choosing by the lowest of their rewards, or by their
mean less their variance, is harder to exploit than choosing by one (Coste et al. 2023,
arXiv:2310.02743).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal

Combine = Literal["mean", "min", "mean_minus_variance"]


def combine(values: Sequence[float], how: Combine, penalty: float = 1.0) -> float:
    """One reward from the members' standardised ones of the same answer.

    Raw rewards of different members differ in zero point and scale, which no loss on differences
    fixes; each must be standardised by its own mean and spread first. ``penalty`` is the weight of
    the variance.
    """
    if how == "min":
        return min(values)
    mean = statistics.fmean(values)
    return mean if how == "mean" else mean - penalty * statistics.pvariance(values, mean)
