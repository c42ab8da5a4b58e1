"""A mean and its 95 % interval, as the simulations print it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

Z = 1.96


@dataclass(frozen=True, slots=True)
class Estimate:
    mean: float
    half: float
    """Half the width of the interval."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        return cls(fmean(values), half_width(values))

    def __str__(self) -> str:
        return f"{self.mean:.3f} +- {self.half:.3f}"


def half_width(values: Sequence[float]) -> float:
    """That of the mean's interval."""
    return Z * stdev(values) / math.sqrt(len(values))
