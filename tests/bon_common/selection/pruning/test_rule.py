from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.pruning.probes import PartialFit
from bon_common.selection.pruning.rule import POOLED, Standing, chances_of, to_stop

T = TypeVar("T")
FIT = PartialFit(correlation=0.8, ratio=2.0, shift=-1.0, variance=1.5)
rewards = st.integers(-40, 40).map(lambda number: number / 8)
standings = st.builds(
    lambda running, others, incumbent: Standing(
        dict(enumerate(running)),
        others,
        [*running, *(other for other in others if other is not None)],
        incumbent,
    ),
    st.lists(rewards, min_size=1, max_size=8),
    st.lists(st.none() | rewards, max_size=3),
    st.none() | rewards,
)


def below(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


def test_chances_of_two_are_those_of_the_bivariate_gaussian() -> None:
    standing = Standing({3: 1.0, 5: 0.0}, passed=[1.0, 0.0])
    mean, squares = 0.5, 0.5
    variance = (squares + POOLED * 1.5) / (1 + POOLED)
    apart = 0.8 * 2.0 * 1.0
    deviation = 2.0 * math.sqrt(variance) * math.sqrt(1 - 0.64)
    expected = below(apart / (deviation * math.sqrt(2)))
    assert chances_of(standing, FIT) == pytest.approx([expected, 1 - expected], abs=1e-9)
    only = chances_of(Standing({3: 1.0}, passed=[1.0, 0.0], incumbent=1.0), FIT)
    told = mean - 1.0 + 0.8 * 2.0 * 0.5
    assert only == pytest.approx([below((told - 1.0) / deviation)], abs=1e-9)


def test_those_with_less_chance_are_stopped() -> None:
    standing = Standing({0: 0.0, 1: 3.0, 2: 2.5, 3: -1.0}, passed=[0.0, 3.0, 2.5, -1.0])
    chances = dict(enumerate(chances_of(standing, FIT) or ()))
    assert chances[3] < chances[0] < 0.1 < chances[2] < chances[1]
    assert to_stop(standing, FIT, 0.1, most=9) == (3, 0)
    assert to_stop(standing, FIT, 0.1, most=1) == (3,)
    assert to_stop(standing, FIT, 0.1, most=0) == ()
    assert to_stop(standing, FIT, 1.0, most=9) == (3, 0, 2)


def test_a_good_incumbent_may_stop_all_and_a_poor_one_none() -> None:
    running = {0: 0.0, 1: 0.5}
    good = Standing(running, passed=[0.0, 0.5], incumbent=50.0)
    assert to_stop(good, FIT, 0.01, most=9) == (1, 0)
    assert to_stop(replace(good, incumbent=-50.0), FIT, 0.01, most=9) == ()


def test_of_equal_chances_the_higher_index_is_stopped() -> None:
    standing = Standing({0: 1.0, 1: 1.0, 2: 1.0, 7: 9.0}, passed=[1.0, 1.0, 1.0, 9.0])
    assert to_stop(standing, FIT, 0.2, most=2) == (2, 1)


def test_one_that_is_not_known_counts_as_any_other() -> None:
    running, passed = {0: 1.0, 1: -1.0}, [1.0, -1.0]
    alone = chances_of(Standing(running, (), passed), FIT)
    beside = chances_of(Standing(running, (None,), passed), FIT)
    assert alone is not None
    assert beside is not None
    assert all(less < more for less, more in zip(beside, alone, strict=True))


@pytest.mark.parametrize("passed", [[], [1.0], [2.0, 2.0, 2.0]])
def test_partial_rewards_that_say_nothing(passed: list[float]) -> None:
    assert to_stop(Standing(dict(enumerate(passed)), (), passed), FIT, 0.9, most=9) is None


def test_rewards_must_be_finite() -> None:
    for bad in (math.nan, math.inf):
        for standing in (
            Standing({0: bad, 1: 0.0}, passed=[1.0, 0.0]),
            Standing({0: 1.0, 1: 0.0}, passed=[1.0, 0.0], incumbent=bad),
        ):
            with pytest.raises(ValueError, match="finite"):
                to_stop(standing, FIT, 0.1, most=1)


def test_a_correlation_below_0_counts_as_none() -> None:
    standing = Standing({0: 0.0, 1: 9.0}, passed=[0.0, 9.0])
    told = replaced_correlation(-0.9)
    assert chances_of(standing, told) == pytest.approx([0.5, 0.5], abs=1e-9)


def replaced_correlation(correlation: float) -> PartialFit:
    return PartialFit(correlation, FIT.ratio, FIT.shift, FIT.variance)


@given(standings, st.integers(0, 9))
def test_a_threshold_of_0_stops_nobody(standing: Standing, most: int) -> None:
    assert to_stop(standing, FIT, 0.0, most) in ((), None)


@given(standings, st.floats(0, 1), st.integers(0, 9), st.sampled_from([0.0, 0.5, 1.0]))
def test_it_never_stops_all(
    standing: Standing, least_chance: float, most: int, correlation: float
) -> None:
    stopped = to_stop(standing, replaced_correlation(correlation), least_chance, most) or ()
    assert len(stopped) <= most
    assert set(stopped) <= standing.running.keys()
    left = len(standing.running) - len(stopped) + len(standing.others)
    assert left > 0 or standing.incumbent is not None


@given(standings, st.floats(0, 1), st.integers(0, 2**32))
def test_the_order_of_candidates_does_not_matter(
    standing: Standing, least_chance: float, seed: int
) -> None:
    source = random.Random(seed)

    def shuffled(items: Iterable[T]) -> list[T]:
        every = [*items]
        return source.sample(every, len(every))

    other = Standing(
        dict(shuffled(standing.running.items())),
        shuffled(standing.others),
        shuffled(standing.passed),
        standing.incumbent,
    )
    assert to_stop(other, FIT, least_chance, 9) == to_stop(standing, FIT, least_chance, 9)


@given(standings, st.floats(0, 0.5))
def test_a_higher_threshold_stops_more(standing: Standing, least_chance: float) -> None:
    few = to_stop(standing, FIT, least_chance, 9)
    more = to_stop(standing, FIT, 2 * least_chance, 9)
    assert few == (more if more is None else more[: len(few or ())])
