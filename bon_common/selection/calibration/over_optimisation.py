"""Over-optimisation: gold rises with the distance from the policy, and then falls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bon_common.selection.calibration.hedge import hedge_root

LARGEST_KL = 60.0
"""Nats. e^60 candidates are more than anybody draws."""


def best_of_n_kl(n: float) -> float:
    """ln n - (n - 1) / n nats: an upper bound on the KL of best-of-n from what it chooses among,
    and close to it where answers seldom repeat (Beirami et al. 2024, arXiv:2401.01879)."""
    return math.log(n) - (n - 1) / n


def n_at_kl(kl: float) -> float:
    """The real n >= 1 at which ``best_of_n_kl`` is ``kl`` nats; infinite above ``LARGEST_KL``.

    Raises ValueError if ``kl`` is negative.
    """
    if kl < 0:
        raise ValueError(f"kl must not be negative, got {kl}")
    if kl > LARGEST_KL:
        return math.inf
    # The bound is at least ln n - 1.
    return hedge_root(lambda n: kl - best_of_n_kl(n), 1.0, math.exp(kl + 1))


@dataclass(frozen=True)
class GoldCurve:
    """Gold above that of one sample as d (alpha - beta d), where d is the square root of the KL."""

    alpha: float
    beta: float

    @property
    def best_n(self) -> float | None:
        """N*, at d = alpha / (2 beta). None if the curve has no top: with ``beta`` at most 0 it
        never falls, and with ``alpha`` at most 0 it falls from the start."""
        if self.alpha <= 0 or self.beta <= 0:
            return None
        return n_at_kl((self.alpha / (2 * self.beta)) ** 2)


def fit_gold_curve(sizes: Sequence[float], gains: Sequence[float]) -> GoldCurve:
    """The least-squares curve through the gold of best-of-n less that of one sample, at each n
    (Gao et al. 2022, arXiv:2210.10760).

    Raises ValueError with fewer than two different sizes above 1.
    """
    if len({n for n in sizes if n > 1}) < 2:
        raise ValueError("needs the gold of best-of-n at two sizes above 1")
    distances = [math.sqrt(best_of_n_kl(n)) for n in sizes]
    # Normal equations of gain = alpha d - beta d^2.
    second, third, fourth = (math.fsum(d**power for d in distances) for power in (2, 3, 4))
    first_gain = math.fsum(d * gain for d, gain in zip(distances, gains, strict=True))
    second_gain = math.fsum(d * d * gain for d, gain in zip(distances, gains, strict=True))
    spread = second * fourth - third * third
    return GoldCurve(
        alpha=(first_gain * fourth - second_gain * third) / spread,
        beta=(first_gain * third - second_gain * second) / spread,
    )
