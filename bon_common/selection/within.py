"""How two numbers go together within prompts: only differences within a prompt count.

Rewards of different prompts do not compare, and easy prompts have short answers. So the sums
subtract each prompt's means first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WithinSums:
    """Sums over pairs of numbers, each less the mean of its prompt."""

    product: float
    first: float
    """Sum of squares, like ``second``."""
    second: float

    @classmethod
    def of(cls, prompts: Iterable[Sequence[tuple[float, float]]]) -> WithinSums:
        """A prompt with fewer than two pairs adds nothing."""
        products, firsts, seconds = [], [], []
        for pairs in prompts:
            if not pairs:
                continue
            first = math.fsum(x for x, _ in pairs) / len(pairs)
            second = math.fsum(y for _, y in pairs) / len(pairs)
            products.append(math.fsum((x - first) * (y - second) for x, y in pairs))
            firsts.append(math.fsum((x - first) ** 2 for x, _ in pairs))
            seconds.append(math.fsum((y - second) ** 2 for _, y in pairs))
        return cls(math.fsum(products), math.fsum(firsts), math.fsum(seconds))

    @property
    def correlation(self) -> float | None:
        """Correlation pooled over prompts; None if the first or the second number never varies."""
        # Two roots, because the product of two small sums may be 0.
        scale = math.sqrt(self.first) * math.sqrt(self.second)
        return max(-1.0, min(1.0, self.product / scale)) if scale > 0 else None

    @property
    def slope(self) -> float | None:
        """How much the first number grows when the second grows by 1, by least squares with an
        intercept for each prompt. None if the second never varies."""
        return self.product / self.second if self.second > 0 else None
