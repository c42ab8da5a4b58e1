"""The estimators of a comparison. Pure; standard library only.

All arms are asked the same prompts, so the bootstrap resamples prompts, and the same ones for every
arm and figure (paired). A percentile bootstrap of few prompts is too narrow; its levels are widened
as in Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section 5.3 (expanded
percentile interval).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with a confidence interval, all in one unit; infinite where unbounded."""

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        assert not self.low > self.high, "low is not above high"

    def map(self, function: Callable[[float], float]) -> Interval:
        """``function``, which must not decrease, of the value and of both ends."""
        return Interval(function(self.value), function(self.low), function(self.high))


# Resampling ------------------------------------------------------------------------------------


class Resamples:
    """Bootstrap draws of prompts, the same for every figure."""

    def __init__(self, prompts: int, count: int, confidence: float, seed: int) -> None:
        rng = random.Random(f"{seed} bootstrap")
        self.prompts = prompts
        self.confidence = confidence
        self.draws = [rng.choices(range(prompts), k=prompts) for _ in range(count)]

    def means(self, values: Sequence[float]) -> list[float]:
        """The mean of each draw; ``values`` has one entry for each prompt."""
        return [fmean([values[i] for i in draw]) for draw in self.draws]

    def of_means(
        self, function: Callable[[Sequence[float]], float], columns: Sequence[Sequence[float]]
    ) -> list[float]:
        """``function`` of the columns' means in each draw."""
        return [function(row) for row in zip(*(self.means(c) for c in columns), strict=True)]

    def interval(self, value: float, replicates: Sequence[float]) -> Interval:
        """The expanded percentile interval, widened where needed to hold ``value``."""
        low, high = expanded_levels(self.prompts, self.confidence)
        ordered = sorted(replicates)
        return Interval(
            value,
            min(value, quantile(ordered, low)),
            max(value, quantile(ordered, high)),
        )

    def mean(self, values: Sequence[float]) -> Interval:
        return self.interval(fmean(values), self.means(values))


def prompts_to_decide(differences: Sequence[float], confidence: float) -> int | None:
    """How many prompts would make an interval of the mean leave out zero, if their mean and spread
    stay as observed: (z sd / mean)^2, by the normal approximation. None where the mean is zero."""
    mean = fmean(differences)
    if len(differences) < 2 or mean == 0:
        return None
    z = NORMAL.inv_cdf((1 + confidence) / 2)
    return max(len(differences) + 1, math.ceil((z * stdev(differences) / mean) ** 2))


def same_numbers(pairs: Sequence[tuple[float, float]]) -> bool:
    """Whether both numbers of every pair agree to a hundredth of their spread. Two models that were
    trained apart never do; the rounding of one model on two machines is far smaller. False for
    fewer than four different numbers, which say too little."""
    first = [one for one, _ in pairs]
    if len(set(first)) < 4:
        return False
    return max(abs(one - other) for one, other in pairs) <= 0.01 * stdev(first)


def expanded_levels(prompts: int, confidence: float) -> tuple[float, float]:
    """The percentiles of a bootstrap over ``prompts`` units to take; the extremes for one unit."""
    if prompts < 2:
        return 0.0, 1.0
    widened = math.sqrt(prompts / (prompts - 1)) * t_quantile((1 + confidence) / 2, prompts - 1)
    return 1 - NORMAL.cdf(widened), NORMAL.cdf(widened)


def t_quantile(level: float, degrees: int) -> float:
    """Student's t: exact for 1 and 2 degrees of freedom, else Cornish and Fisher's expansion
    (Abramowitz and Stegun 26.7.5), whose error is below 0.01 from 3 on at level 0.975."""
    if degrees == 1:
        return math.tan(math.pi * (level - 0.5))
    if degrees == 2:
        return (2 * level - 1) / math.sqrt(2 * level * (1 - level))
    z: float = NORMAL.inv_cdf(level)
    terms: tuple[float, ...] = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + math.fsum(term / degrees**power for power, term in enumerate(terms, 1))


# Quantiles -------------------------------------------------------------------------------------


def quantile(ordered: Sequence[float], level: float) -> float:
    """The inverse of the empirical distribution: the smallest value that at least a share of
    ``level`` does not exceed. ``ordered`` ascends and may end in infinities."""
    # The guard keeps ceil from taking 0.95 * 20 = 19.000000000000004 for more than 19.
    rank = math.ceil(level * len(ordered) - 1e-9)
    return ordered[min(max(rank, 1), len(ordered)) - 1]


def quantile_interval(values: Sequence[float], level: float, confidence: float) -> Interval:
    """A quantile between two order statistics that enclose it with at least ``confidence``,
    whatever the distribution (binomial ranks). Unbounded where there are too few values."""
    ordered = sorted(values)
    low_rank, high_rank = quantile_ranks(len(ordered), level, confidence)
    return Interval(
        quantile(ordered, level),
        ordered[low_rank - 1] if low_rank >= 1 else -math.inf,
        ordered[high_rank - 1] if high_rank <= len(ordered) else math.inf,
    )


def quantile_ranks(count: int, level: float, confidence: float) -> tuple[int, int]:
    """Ranks l < u, counted from 1, with P(x_(l) <= quantile <= x_(u)) >= confidence: the quantile
    is outside with at most (1 - confidence) / 2 on each side. 0 and count + 1 where no rank does.
    """
    tail = (1 - confidence) / 2
    low, high, below = 0, count + 1, 0.0
    for successes in range(count + 1):
        # x_(r) lies above the quantile with P(B <= r - 1), B binomial(count, level).
        below += binomial(successes, count, level)
        if below <= tail:
            low = successes + 1
        if below >= 1 - tail:
            high = successes + 1
            break
    return low, high


def binomial(successes: int, count: int, share: float) -> float:
    """The probability of that number of successes; 0 < share < 1."""
    log_ways = math.lgamma(count + 1) - math.lgamma(successes + 1)
    log_ways -= math.lgamma(count - successes + 1)
    return math.exp(
        log_ways + successes * math.log(share) + (count - successes) * math.log1p(-share)
    )


def slowest_of(ordered: Sequence[float], n: int, level: float) -> float:
    """Quantile of the slowest of n independent draws: F^-1(level^(1/n)). Infinite where there are
    too few draws to know it."""
    inner = level ** (1 / n)
    if inner > 1 - 1 / (len(ordered) + 1):
        return math.inf
    return quantile(ordered, inner)


def win(ours: float, theirs: float) -> float:
    """1 if ours is higher, 0 if theirs is, 0.5 for a tie."""
    return 0.5 if ours == theirs else float(ours > theirs)
