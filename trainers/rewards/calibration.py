"""Whether a reward model is as sure as it should be.

Its reward differences claim probabilities: an answer is preferred with sigmoid(difference)
(Bradley and Terry 1952). On pairs labelled as in training, the share that is preferred should equal
the claim. On noise-free labels, a model that learnt from noisy ones is right to look unsure.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Bin:
    """The pairs whose claim falls between two bounds."""

    low: float
    high: float
    predicted: float
    """The mean claim."""
    observed: float
    """The share of pairs in which the answer of higher reward was preferred."""
    pairs: int


@dataclass(frozen=True)
class Calibration:
    bins: list[Bin]
    """Those with pairs in them."""
    ece: float
    """Expected calibration error: |predicted - observed|, weighted by the pairs of each bin
    (Naeini et al. 2015; Guo et al. 2017, arXiv:1706.04599)."""

    @classmethod
    def of(cls, differences: Sequence[float], bins: int) -> "Calibration":
        """The curve over `bins` equal parts of .5 to 1, from chosen minus rejected rewards.

        A pair's claim is that of its answer of higher reward, sigmoid(|difference|): the order of
        the two in a file says nothing, and the curve below .5 is this one mirrored. A difference
        of 0 is half right. Raises ValueError without any difference.
        """
        if not differences:
            raise ValueError("calibration needs at least one pair")
        inside: list[list[tuple[float, float]]] = [[] for _ in range(bins)]
        for difference in differences:
            claim = 1 / (1 + math.exp(-abs(difference)))
            place = min(int((claim - 0.5) * 2 * bins), bins - 1)
            inside[place].append((claim, 0.5 if difference == 0 else float(difference > 0)))
        width = 0.5 / bins
        found = [
            Bin(
                low=0.5 + place * width,
                high=0.5 + (place + 1) * width,
                predicted=sum(claim for claim, _ in pairs) / len(pairs),
                observed=sum(right for _, right in pairs) / len(pairs),
                pairs=len(pairs),
            )
            for place, pairs in enumerate(inside)
            if pairs
        ]
        error = sum(one.pairs * abs(one.predicted - one.observed) for one in found)
        return cls(found, error / len(differences))
