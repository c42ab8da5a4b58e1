"""Lists and Borda points."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.judging.listwise import (
    lists,
    mean_points,
    points_of_chances,
    points_of_order,
)


@given(st.integers(1, 60), st.integers(1, 8), st.integers(2, 20), st.booleans())
def test_each_repeat_has_every_answer_once(
    count: int, repeats: int, longest: int, shuffle: bool
) -> None:
    found = lists(count, repeats, longest, Random(0), shuffle=shuffle)
    assert len(found) == repeats
    for own in found:
        assert sorted(one for shown in own for one in shown) == [*range(count)]
        lengths = [len(shown) for shown in own]
        assert max(lengths) <= longest
        assert max(lengths) - min(lengths) <= 1


def test_as_many_repeats_as_answers_bring_each_to_every_place() -> None:
    found = lists(5, 10, 20, Random(0))
    places = Counter(
        (one, place) for own in found for shown in own for place, one in enumerate(shown)
    )
    assert set(places.values()) == {2}
    assert found[0] != [tuple(range(5))]
    assert lists(5, 10, 20, Random(0)) == found != lists(5, 10, 20, Random(1))


def test_without_shuffling_the_order_stays() -> None:
    assert lists(3, 2, 20, Random(0), shuffle=False) == [[(0, 1, 2)], [(0, 1, 2)]]


def test_points_are_the_share_of_the_others_below() -> None:
    assert points_of_order({4: 0.9, 7: 0.1, 2: 0.1}) == {4: 1.0, 7: 0.25, 2: 0.25}
    assert points_of_order({4: 1.0}) == {4: 0.5}


def test_probabilities_count_by_their_shares() -> None:
    found = points_of_chances({4: 0.6, 7: 0.2, 2: 0.0, 3: 0.0})
    assert found == pytest.approx({4: 2.75 / 3, 7: 2.25 / 3, 2: 0.5 / 3, 3: 0.5 / 3})
    assert points_of_chances({4: 0.3}) == {4: 0.5}


@given(st.lists(st.floats(0, 1), min_size=2, max_size=10))
def test_a_list_has_half_a_point_for_each_answer(values: list[float]) -> None:
    for points in (points_of_order, points_of_chances):
        found = points(dict(enumerate(values)))
        assert sum(found.values()) == pytest.approx(len(values) / 2)
        ranked = sorted(range(len(values)), key=values.__getitem__)
        gained = [found[one] for one in ranked]
        assert gained == pytest.approx(sorted(gained))


def test_the_mean_over_the_lists_that_had_a_verdict() -> None:
    orders = [{0: 2, 1: 1, 2: 0}, {0: 1, 2: 2}]
    assert mean_points(3, map(points_of_order, orders)) == pytest.approx([0.5, 0.5, 0.5])
    assert mean_points(2, []) == [None, None]


PLACES = (0.9, 0.06, 0.02, 0.01, 0.005, 0.005)
"""What a judge with a strong preference for the first places says of equal answers."""


def test_a_preference_for_a_place_cancels_out() -> None:
    """The judge goes by place alone."""
    shown = [own for repeat in lists(6, 6, 20, Random(3)) for own in repeat]
    verdicts = [dict(zip(own, PLACES, strict=True)) for own in shown]
    assert mean_points(6, map(points_of_order, verdicts)) == pytest.approx([0.5] * 6)
    assert mean_points(6, map(points_of_chances, verdicts)) == pytest.approx([0.5] * 6)


def test_probabilities_tell_answers_apart_that_the_place_hides() -> None:
    """Each answer multiplies its place's probability, and never by enough to outrank the place."""
    merits = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5)
    shown = [own for repeat in lists(6, 6, 20, Random(3)) for own in repeat]
    places = [2.0**-place for place in range(6)]
    verdicts = [
        {one: merits[one] * chance for one, chance in zip(own, places, strict=True)}
        for own in shown
    ]
    assert mean_points(6, map(points_of_order, verdicts)) == pytest.approx([0.5] * 6)
    found = mean_points(6, map(points_of_chances, verdicts))
    known = [one for one in found if one is not None]
    assert len(set(known)) == 6
    assert known == sorted(known)
