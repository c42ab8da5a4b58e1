from __future__ import annotations

import math
import random
from collections.abc import Callable
from statistics import fmean

import pytest

from bon_gateway.compare.figures.economics import break_even
from bon_gateway.compare.figures.quality import Sampled as Candidates
from bon_gateway.compare.figures.quality import estimated_curve, matched_n
from bon_gateway.compare.statistics import (
    Interval,
    Resamples,
    expanded_levels,
    prompts_to_decide,
    quantile,
    quantile_interval,
    quantile_ranks,
    same_numbers,
    slowest_of,
    t_quantile,
    win,
)

REPETITIONS = 300
CONFIDENCE = 0.95
EXACT = 1e-9


def binomial_limits(repetitions: int, share: float, z: float = 3.0) -> tuple[float, float]:
    spread = z * math.sqrt(share * (1 - share) / repetitions)
    return share - spread, share + spread


def coverage(one: Callable[[random.Random, int], Interval], truth: float) -> float:
    """How often an interval of simulated data holds the truth."""
    rng = random.Random(20)
    held = 0
    for repetition in range(REPETITIONS):
        interval = one(rng, repetition)
        held += interval.low <= truth <= interval.high
    return held / REPETITIONS


# Best of n


def test_a_win() -> None:
    assert [win(2, 1), win(1, 1), win(0, 1), win(-math.inf, -math.inf)] == [1, 0.5, 0, 0.5]


# Quantiles


def test_quantile_is_the_inverse_of_the_empirical_distribution() -> None:
    values = [float(i) for i in range(1, 21)]
    assert [quantile(values, p) for p in (0.0, 0.05, 0.051, 0.5, 0.95, 1.0)] == [
        1,
        1,
        2,
        10,
        19,
        20,
    ]
    assert quantile([1.0, math.inf], 0.5) == 1.0
    assert quantile([1.0, math.inf], 0.51) == math.inf


@pytest.mark.parametrize(
    ("count", "level", "ranks"),
    # David and Nagaraja, Order Statistics: 10 values bound the median by the 2nd and 9th.
    [(10, 0.5, (2, 9)), (100, 0.5, (40, 61)), (20, 0.95, (17, 21)), (5, 0.5, (0, 6))],
)
def test_quantile_ranks(count: int, level: float, ranks: tuple[int, int]) -> None:
    assert quantile_ranks(count, level, CONFIDENCE) == ranks


def test_too_few_values_bound_nothing() -> None:
    interval = quantile_interval([3.0, 1.0, 2.0], 0.95, CONFIDENCE)
    assert (interval.value, interval.high) == (3.0, math.inf)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_quantile_intervals_hold_the_truth(level: float) -> None:
    def one(rng: random.Random, repetition: int) -> Interval:
        return quantile_interval([rng.expovariate(1.0) for _ in range(120)], level, CONFIDENCE)

    share = coverage(one, -math.log(1 - level))
    # Ranks are whole, so they hold it a little more often than they promise.
    assert binomial_limits(REPETITIONS, CONFIDENCE)[0] <= share <= 0.995


def test_the_slowest_of_n() -> None:
    """Exponential: F^-1(p^(1/N)) = -ln(1 - p^(1/N))."""
    count = 200_000
    sample = [-math.log(1 - (i + 0.5) / count) for i in range(count)]
    for n in (2, 8, 16):
        for p in (0.5, 0.95):
            exact = -math.log(1 - p ** (1 / n))
            assert slowest_of(sample, n, p) == pytest.approx(exact, rel=2e-3)
    assert slowest_of(sample[:100], 16, 0.95) == math.inf


# Resampling


@pytest.mark.parametrize(
    ("degrees", "value", "within"),
    [
        (1, 12.706205, 1e-5),
        (2, 4.302653, 1e-5),
        (3, 3.182446, 1e-2),
        (5, 2.570582, 1e-3),
        (10, 2.228139, 1e-4),
        (30, 2.042272, 1e-5),
    ],
)
def test_students_t(degrees: int, value: float, within: float) -> None:
    assert t_quantile(0.975, degrees) == pytest.approx(value, abs=within)


def test_levels_are_wider_for_few_prompts() -> None:
    assert expanded_levels(1, CONFIDENCE) == (0.0, 1.0)
    few, many = expanded_levels(5, CONFIDENCE), expanded_levels(5000, CONFIDENCE)
    assert few[0] < many[0] < 0.025 < 0.975 < many[1] + 1e-3
    assert many == pytest.approx((0.025, 0.975), abs=1e-4)


@pytest.mark.parametrize("prompts", [15, 40])
def test_intervals_of_a_mean_hold_it(prompts: int) -> None:
    def one(rng: random.Random, repetition: int) -> Interval:
        resamples = Resamples(prompts, 400, CONFIDENCE, repetition)
        return resamples.mean([rng.gauss(2.0, 3.0) for _ in range(prompts)])

    low, high = binomial_limits(REPETITIONS, CONFIDENCE)
    assert low <= coverage(one, 2.0) <= high


def test_intervals_of_a_paired_difference_hold_it() -> None:
    """Prompts that are hard for both arms cancel: the interval knows that they are paired."""
    widths = []

    def one(rng: random.Random, repetition: int) -> Interval:
        resamples = Resamples(30, 400, CONFIDENCE, repetition)
        hard = [rng.gauss(0, 5) for _ in range(30)]
        ours = [h + rng.gauss(0.5, 1) for h in hard]
        theirs = [h + rng.gauss(0.0, 1) for h in hard]
        interval = resamples.mean([a - b for a, b in zip(ours, theirs, strict=True)])
        widths.append(interval.high - interval.low)
        return interval

    low, high = binomial_limits(REPETITIONS, CONFIDENCE)
    assert low <= coverage(one, 0.5) <= high
    assert fmean(widths) < 1.5  # unpaired it is above 4


def test_intervals_of_a_win_rate_hold_it() -> None:
    """N/(N + 1) for the best of N against one, repeated 4 times a prompt."""

    def one(rng: random.Random, repetition: int) -> Interval:
        resamples = Resamples(40, 400, CONFIDENCE, repetition)
        rates = [
            fmean(win(max(rng.random() for _ in range(4)), rng.random()) for _ in range(4))
            for _ in range(40)
        ]
        return resamples.mean(rates)

    low, high = binomial_limits(REPETITIONS, CONFIDENCE)
    assert low <= coverage(one, 4 / 5) <= high


def test_intervals_of_the_matched_n_hold_it() -> None:
    """Standard normal rewards: E[max] of 3 is .8463 and of 4 is 1.0294, so a policy of mean .95
    is equalled by 4."""

    def one(rng: random.Random, repetition: int) -> Interval:
        resamples = Resamples(30, 200, CONFIDENCE, repetition)
        drawn = [[rng.gauss(0, 1) for _ in range(8)] for _ in range(30)]
        curve = estimated_curve([[Candidates(one, one)] for one in drawn], 8)
        return matched_n(curve, [rng.gauss(0.95, 0.5) for _ in range(30)], resamples)

    # N is whole, so the interval holds it at least as often as it promises.
    assert coverage(one, 4.0) >= binomial_limits(REPETITIONS, CONFIDENCE)[0]


def test_intervals_of_the_break_even_hold_it() -> None:
    def one(rng: random.Random, repetition: int) -> Interval:
        resamples = Resamples(40, 400, CONFIDENCE, repetition)
        length = [rng.gauss(1.0, 0.3) for _ in range(40)]
        bon = [4 * one + rng.gauss(0, 0.2) for one in length]
        tuned = [one + rng.gauss(0, 0.2) for one in length]
        value = break_even(300.0, fmean(bon), fmean(tuned))
        return resamples.interval(
            value, resamples.of_means(lambda means: break_even(300.0, *means), (bon, tuned))
        )

    low, high = binomial_limits(REPETITIONS, CONFIDENCE)
    assert low <= coverage(one, 100.0) <= high


def test_prompts_to_decide() -> None:
    """(1.96 sd / mean)^2: differences of sd 1 and mean .1 need 385."""
    half = math.sqrt(99 / 100)
    column = [0.1 + half] * 50 + [0.1 - half] * 50
    assert prompts_to_decide(column, CONFIDENCE) == math.ceil((1.959964 / 0.1) ** 2)
    assert prompts_to_decide([0.0, 0.0], CONFIDENCE) is None
    assert prompts_to_decide([1.0], CONFIDENCE) is None
    assert prompts_to_decide([1.0, 0.9], CONFIDENCE) == 3  # never fewer than there are


def test_the_same_numbers() -> None:
    rewards = [0.1, 0.5, -2.0, 3.0]
    assert same_numbers([(r, r + 1e-4) for r in rewards])
    assert not same_numbers([(r, r + 0.1) for r in rewards])
    assert not same_numbers([(r, 2 * r) for r in rewards])
    assert not same_numbers([(1.0, 1.0)] * 10)  # one number says nothing


def test_draws_are_the_same_for_every_figure() -> None:
    resamples = Resamples(20, 200, CONFIDENCE, 3)
    values = [float(i) for i in range(20)]
    assert resamples.means(values) == Resamples(20, 200, CONFIDENCE, 3).means(values)
    assert resamples.means(values) != Resamples(20, 200, CONFIDENCE, 4).means(values)
