"""Rewards of different reward models on one scale: the z-score, by each one's own rewards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LARGEST = 1e100
"""Rewards beyond it count as it: their squares would overflow."""
SMALLEST = 1e-100
ROUNDING = 1e-12
"""A standard deviation below ``SMALLEST``, or this share of the mean, is none but for rounding."""


@dataclass(frozen=True, slots=True)
class RewardSpread:
    """Mean and standard deviation of a reward model's rewards, in its own unit."""

    mean: float
    std: float

    @classmethod
    def of(cls, rewards: Sequence[float]) -> RewardSpread:
        """Those of these rewards, which are the whole population. If they are all equal, the
        standard deviation is 1. Raises ValueError without rewards."""
        if not rewards:
            raise ValueError("there are no rewards")
        known = [_bounded(reward) for reward in rewards]
        mean = math.fsum(known) / len(known)
        std = math.sqrt(math.fsum((reward - mean) ** 2 for reward in known) / len(known))
        return cls(mean, std if std > max(SMALLEST, ROUNDING * abs(mean)) else 1.0)

    def standardised(self, reward: float) -> float:
        """How many standard deviations ``reward`` is above the mean."""
        return _bounded((_bounded(reward) - self.mean) / self.std)


def is_computable(reward: float) -> bool:
    """Whether it is finite, and squares of it are: no rule computes with any other."""
    return abs(reward) <= LARGEST


def _bounded(value: float) -> float:
    return max(-LARGEST, min(LARGEST, value))
