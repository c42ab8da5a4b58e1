"""HedgeTune: the parameter of a hedge at which its expected gold is highest.

The expectation E[gold] over the winner has the slope E[gold psi] in the parameter, where psi is the
derivative of the winner's log-probability. The parameter is the root of that slope (Khalaf et al.
2025, arXiv:2506.19248). For best-of-N and the quantile u of the winner, psi = 1/N + ln u.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from bon_common.selection.soft import soft_log_weights

HALVINGS = 200
"""More than it takes to narrow any interval to neighbouring floats."""


def hedge_root(
    slope: Callable[[float], float], low: float, high: float, precision: float = 0.0
) -> float:
    """Where ``slope`` falls through 0 between ``low`` and ``high``, by bisection, to the share
    ``precision`` of ``high``, or as near as floats come.

    Raises ValueError unless it is at least 0 at ``low`` and at most 0 at ``high``.
    """
    if slope(low) < 0 or slope(high) > 0:
        raise ValueError(f"the slope does not fall through 0 between {low} and {high}")
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if not low < middle < high or high - low <= precision * high:
            break
        if slope(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def soft_chances(rewards: Sequence[float], temperature: float) -> list[float]:
    """The chances of soft best-of-n; see ``soft_log_weights``."""
    weights = [math.exp(weight) for weight in soft_log_weights(rewards, temperature)]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def soft_slope(rewards: Sequence[float], golds: Sequence[float], temperature: float) -> float:
    """The slope of soft best-of-n's expected gold in the logarithm of its temperature: minus the
    covariance of reward and gold under its chances, over the temperature. ``rewards`` and ``golds``
    are those of one prompt's candidates."""
    chances = soft_chances(rewards, temperature)
    gold = math.fsum(p * value for p, value in zip(chances, golds, strict=True))
    best = max(rewards)
    return -math.fsum(
        p * (value - gold) * (reward - best) / temperature
        for p, value, reward in zip(chances, golds, rewards, strict=True)
    )


def poisson_slope(curve: Sequence[float], mu: float) -> float:
    """The slope in ``mu`` of the expected gold of Best-of-Poisson, n = 1 + Poisson(mu), with
    ``len(curve)`` in place of any larger n. ``curve`` has the gold of best-of-1, best-of-2, ..."""
    return math.fsum(
        math.exp(k * math.log(mu) - mu - math.lgamma(k + 1)) * (curve[k + 1] - curve[k])
        for k in range(len(curve) - 1)
    )
