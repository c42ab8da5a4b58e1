"""How rewards vary within and between prompts, and what they go with within a prompt. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bon_common.selection.within import WithinSums
from bon_gateway.calibrate.pools import CalibrationPrompts, JudgedPool
from bon_gateway.compare.statistics import Interval, Resamples

Pairs = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class RewardVariation:
    """Rewards in their own unit."""

    within: Interval
    """Standard deviation of the candidates of one prompt."""
    between: Interval
    """Standard deviation of the prompts' true means."""
    without_spread: Interval
    """Share of prompts whose candidates all have one reward: there nothing can be chosen."""
    distinct: Interval
    """Different rewards for each 100 candidates of a pool."""


@dataclass(frozen=True)
class WithinCorrelation:
    """Within prompts, from values less their prompt's mean."""

    name: str
    correlation: Interval | None
    """None where one of the two does not vary within any prompt."""
    slope: Interval | None
    """Of the first in the second."""
    candidates: int
    prompts: int
    """With two candidates or more that have both."""


def variance_components(sums: Sequence[float]) -> tuple[float, float]:
    """Variance within and between groups: the one-way analysis of variance, with random effects and
    groups of any sizes (Searle, Casella and McCulloch 1992, chapter 3).

    ``sums`` are, over the groups or a mean over them times their number: how many groups, values,
    and squares of sizes there are; the sum of squares within; sum of size x mean, and of
    size x mean^2. Where the means vary less than chance makes them, between is 0.
    """
    groups, count, squares, inside, total, mean_squares = sums
    within = inside / (count - groups) if count > groups else 0.0
    if groups < 2:
        return within, 0.0
    outside = mean_squares - total * total / count
    typical_size = (count - squares / count) / (groups - 1)
    return within, max(0.0, (outside / (groups - 1) - within) / typical_size)


def group_sums(values: Sequence[float]) -> tuple[float, float, float, float, float, float]:
    """What one group adds to the sums of ``variance_components``."""
    count, mean = len(values), fmean(values)
    inside = math.fsum((value - mean) ** 2 for value in values)
    return 1.0, count, count * count, inside, count * mean, count * mean * mean


def reward_spread(prompts: CalibrationPrompts, resamples: Resamples) -> RewardVariation:
    """Every request's candidates are a group of their own, and belong to their prompt."""
    columns = [
        [math.fsum(parts) for parts in zip(*(group_sums(p.rewards) for p in own), strict=True)]
        for own in prompts.pools
    ]
    by_sum = [*zip(*columns, strict=True)]
    means = [fmean(column) for column in by_sum]

    def deviation(part: int) -> Interval:
        def root(sums: Sequence[float]) -> float:
            scaled = [value * len(columns) for value in sums]
            return math.sqrt(variance_components(scaled)[part])

        return resamples.interval(root(means), resamples.of_means(root, by_sum))

    def different(pool: JudgedPool) -> float:
        return 100 * len(set(pool.rewards)) / pool.size

    return RewardVariation(
        within=deviation(0),
        between=deviation(1),
        without_spread=resamples.mean(prompts.column(lambda p: float(len(set(p.rewards)) == 1))),
        distinct=resamples.mean(prompts.column(different)),
    )


def within_correlation(
    name: str, groups: Sequence[Sequence[Pairs]], resamples: Resamples
) -> WithinCorrelation:
    """``groups`` has for each prompt the pairs of each of its requests."""
    judged = [[pairs for pairs in own if len(pairs) > 1] for own in groups]
    sums = [WithinSums.of(own) for own in judged]
    columns = [[s.product for s in sums], [s.first for s in sums], [s.second for s in sums]]
    means = [fmean(column) for column in columns]

    def correlation(sums: Sequence[float]) -> float:
        return WithinSums(*sums).correlation or 0.0

    def slope(sums: Sequence[float]) -> float:
        return WithinSums(*sums).slope or 0.0

    known = WithinSums(*means).correlation is not None
    return WithinCorrelation(
        name,
        resamples.interval(correlation(means), resamples.of_means(correlation, columns))
        if known
        else None,
        resamples.interval(slope(means), resamples.of_means(slope, columns)) if known else None,
        candidates=sum(len(pairs) for own in judged for pairs in own),
        prompts=sum(map(bool, judged)),
    )


def grouped(prompts: CalibrationPrompts, pairs: Callable[[JudgedPool], Pairs]) -> list[list[Pairs]]:
    """The pairs of each request, by prompt."""
    return [[pairs(pool) for pool in own] for own in prompts.pools]


LENGTHS: Mapping[str, Callable[[JudgedPool], Pairs]] = {
    "tokens": lambda pool: [*zip(pool.rewards, pool.tokens, strict=True)],
    "characters": lambda pool: [*zip(pool.rewards, pool.characters, strict=True)],
}
"""Rewards and lengths, by the unit of length."""


def reward_correlations(
    prompts: CalibrationPrompts, resamples: Resamples
) -> list[WithinCorrelation]:
    """With an answer's tokens and characters, and with its gold."""
    found = [
        within_correlation(f"reward and {unit}", grouped(prompts, pairs), resamples)
        for unit, pairs in LENGTHS.items()
    ]
    if prompts.with_gold:
        groups = grouped(prompts, lambda p: [*zip(p.golds or (), p.rewards, strict=True)])
        found.append(within_correlation("gold and reward", groups, resamples))
    return found
