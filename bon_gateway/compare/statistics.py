"""The estimators of a comparison. Pure; standard library only.

Prompts are the unit of chance: all arms are asked the same ones, so resampling draws prompts, and
draws the same ones for every arm and figure (paired). A percentile bootstrap of few prompts is too
narrow; its levels are widened as in Hesterberg 2015, "What Teachers Should Know About the
Bootstrap", section 5.3 (expanded percentile interval).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with a confidence interval, all in one unit; infinite where unbounded."""

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        assert not self.low > self.high, "low is not above high"


# Resampling ------------------------------------------------------------------------------------


class Resamples:
    """Bootstrap draws of prompts, the same for every figure that is asked of it."""

    def __init__(self, prompts: int, count: int, confidence: float, seed: int) -> None:
        rng = random.Random(f"{seed} bootstrap")
        self.prompts = prompts
        self._confidence = confidence
        self.draws = [rng.choices(range(prompts), k=prompts) for _ in range(count)]

    def means(self, values: Sequence[float]) -> list[float]:
        """The mean of each draw; ``values`` has one entry a prompt."""
        return [fmean([values[i] for i in draw]) for draw in self.draws]

    def of_means(
        self, function: Callable[[Sequence[float]], float], columns: Sequence[Sequence[float]]
    ) -> list[float]:
        """``function`` of the columns' means in each draw."""
        return [function(row) for row in zip(*(self.means(c) for c in columns), strict=True)]

    def interval(self, value: float, replicates: Sequence[float]) -> Interval:
        """The expanded percentile interval around ``value``, which it always holds."""
        low, high = expanded_levels(self.prompts, self._confidence)
        ordered = sorted(replicates)
        return Interval(
            value,
            min(value, quantile(ordered, low)),
            max(value, quantile(ordered, high)),
        )

    def mean(self, values: Sequence[float]) -> Interval:
        return self.interval(fmean(values), self.means(values))

    def difference(self, ours: Sequence[float], theirs: Sequence[float]) -> Interval:
        """Of paired means, ours less theirs."""
        return self.mean([a - b for a, b in zip(ours, theirs, strict=True)])


def expanded_levels(prompts: int, confidence: float) -> tuple[float, float]:
    """The percentiles to take of a bootstrap over ``prompts`` units; the extremes for one."""
    if prompts < 2:
        return 0.0, 1.0
    widened = math.sqrt(prompts / (prompts - 1)) * t_quantile((1 + confidence) / 2, prompts - 1)
    return 1 - NORMAL.cdf(widened), NORMAL.cdf(widened)


def t_quantile(level: float, degrees: int) -> float:
    """Student's t: exact for 1 and 2 degrees of freedom, else Cornish and Fisher's expansion
    (Abramowitz and Stegun 26.7.5), whose error is below .01 from 3 on at level .975."""
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
    """The inverse of the empirical distribution: the least value that a share of ``level`` does
    not exceed. ``ordered`` ascends and may end in infinities."""
    # The guard keeps ceil from taking 0.95 * 20 = 19.000000000000004 for more than 19.
    rank = math.ceil(level * len(ordered) - 1e-9)
    return ordered[min(max(rank, 1), len(ordered)) - 1]


def quantile_interval(values: Sequence[float], level: float, confidence: float) -> Interval:
    """A quantile between two order statistics that hold it with ``confidence`` or more, whatever
    the distribution (binomial ranks). Unbounded where there are too few values."""
    ordered = sorted(values)
    low_rank, high_rank = quantile_ranks(len(ordered), level, confidence)
    return Interval(
        quantile(ordered, level),
        ordered[low_rank - 1] if low_rank >= 1 else -math.inf,
        ordered[high_rank - 1] if high_rank <= len(ordered) else math.inf,
    )


def quantile_ranks(count: int, level: float, confidence: float) -> tuple[int, int]:
    """Ranks l < u, counted from 1, with P(x_(l) <= quantile <= x_(u)) >= confidence: at most half
    of what may be missed on each side. 0 and count + 1 where no rank will do."""
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
    """The probability of so many successes; 0 < share < 1."""
    log_ways = math.lgamma(count + 1) - math.lgamma(successes + 1)
    log_ways -= math.lgamma(count - successes + 1)
    return math.exp(
        log_ways + successes * math.log(share) + (count - successes) * math.log1p(-share)
    )


def slowest_of(ordered: Sequence[float], n: int, level: float) -> float:
    """Quantile of the slowest of n independent draws: F^-1(level^(1/n)). Infinite where the draws
    at hand are too few to know it."""
    inner = level ** (1 / n)
    if inner > 1 - 1 / (len(ordered) + 1):
        return math.inf
    return quantile(ordered, inner)


def win(ours: float, theirs: float) -> float:
    """1 for the higher, a half for a tie."""
    return 0.5 if ours == theirs else float(ours > theirs)
