"""How many candidates Best-of-Poisson draws."""

from __future__ import annotations

import math


def poisson_chances(mu: float, cap: int) -> list[float]:
    """The chances of 1, 2, ..., ``cap`` candidates: n = 1 + Poisson(mu), and ``cap`` in place of
    anything larger.

    Raises ValueError unless mu is above 0 and finite and the cap at least 1.
    """
    if not 0 < mu < math.inf:
        raise ValueError(f"mu must be above 0 and finite, got {mu}")
    if cap < 1:
        raise ValueError(f"the cap must be at least 1, got {cap}")
    # As logarithms, because exp(-mu) alone is 0 from mu 746 on.
    chances = [math.exp(k * math.log(mu) - mu - math.lgamma(k + 1)) for k in range(cap - 1)]
    return [*chances, max(0.0, 1.0 - math.fsum(chances))]


def poisson_count(mu: float, cap: int, uniform: float) -> int:
    """The number of candidates that ``uniform``, a number from 0 up to but not 1, draws: the least
    n whose chance, with those of all smaller numbers, is above it. It never falls when ``uniform``,
    ``mu`` or ``cap`` rises.

    Best-of-Poisson (Khalaf et al. 2025, arXiv:2506.19248): the best of n candidates where n is
    drawn too. Raises ValueError as ``poisson_chances`` does.
    """
    below = 0.0
    for count, chance in enumerate(poisson_chances(mu, cap), start=1):
        below += chance
        if uniform < below:
            return count
    # The chances sum to 1 but for rounding.
    return cap
