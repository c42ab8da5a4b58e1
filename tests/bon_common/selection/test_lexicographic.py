"""The number has the order of the list, for any rewards and tolerance."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.lexicographic import FARTHEST, lexicographic, most_ranked

TOLERANCES = st.floats(0.001, 8)
FINEST = 0.002
"""Standard deviations between two last rewards that are told apart for certain."""


@st.composite
def rivals(draw: st.DrawFn) -> tuple[float, list[float], list[float]]:
    tolerance = draw(TOLERANCES)
    count = draw(st.integers(2, min(8, most_ranked(tolerance))))
    rewards = st.lists(st.floats(-9, 9), min_size=count, max_size=count)
    one, other = draw(rewards), draw(rewards)
    shared = draw(st.integers(0, count))
    return tolerance, one, [*one[:shared], *other[shared:]]


def digits(values: list[float], tolerance: float) -> list[int]:
    kept = [max(-FARTHEST, min(FARTHEST, value)) for value in values]
    return [
        math.floor(kept[0] / tolerance),
        *[math.floor((value + FARTHEST) / tolerance) for value in kept[1:-1]],
    ]


@given(rivals())
def test_the_order_is_that_of_the_list(given_: tuple[float, list[float], list[float]]) -> None:
    tolerance, one, other = given_
    mine, theirs = lexicographic(one, tolerance), lexicographic(other, tolerance)
    if digits(one, tolerance) != digits(other, tolerance):
        assert (mine > theirs) is (digits(one, tolerance) > digits(other, tolerance))
        assert mine != theirs
    else:
        last, its = [max(-FARTHEST, min(FARTHEST, v)) for v in (one[-1], other[-1])]
        if abs(last - its) > FINEST:
            assert (mine > theirs) is (last > its)
            assert mine != theirs
        elif last == its:
            assert mine == theirs


@pytest.mark.parametrize("tolerance", [0.001, 0.25, 0.3, 1.0, 8.0])
def test_no_reward_makes_up_for_one_step_of_a_more_important_one(tolerance: float) -> None:
    best, worst = 2 * FARTHEST, -2 * FARTHEST
    least, next_step = tolerance * 0.5, tolerance * 1.5
    pairs = [
        ([least, best, best], [next_step, worst, worst]),
        ([0, least - FARTHEST, best], [0, next_step - FARTHEST, worst]),
    ]
    for lower, higher in pairs:
        assert lexicographic(lower, tolerance) < lexicographic(higher, tolerance)


@given(st.floats(-8, 8), st.lists(st.floats(-9, 9), max_size=3), st.floats(0.1, 1))
def test_it_stays_within_a_step_of_the_first(
    first: float, others: list[float], tolerance: float
) -> None:
    joint = lexicographic([first, *others], tolerance)
    assert abs(joint - first) <= tolerance * (1 + 1e-9)


def test_how_many_can_be_told_apart() -> None:
    assert [most_ranked(tolerance) for tolerance in (0.001, 0.01, 0.25, 1, 8)] == [3, 4, 7, 10, 24]


def test_one_alone_is_itself() -> None:
    assert lexicographic([math.pi], 0.25) == pytest.approx(math.pi, abs=0)
