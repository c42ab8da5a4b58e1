"""Lists and Borda points."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.judging.listwise import borda, lists, points


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
    assert points({4: 0.9, 7: 0.1, 2: 0.1}) == {4: 1.0, 7: 0.25, 2: 0.25}
    assert points({4: 1.0}) == {4: 0.5}


def test_the_mean_over_the_lists_that_had_a_verdict() -> None:
    found = borda(3, [{0: 2, 1: 1, 2: 0}, {0: 1, 2: 2}])
    assert found == [pytest.approx(0.5), pytest.approx(0.5), pytest.approx(0.5)]
    assert borda(2, []) == [None, None]


def test_a_preference_for_a_place_cancels_out() -> None:
    """The judge ranks by place alone."""
    found = lists(6, 6, 20, Random(3))
    verdicts = [{one: -place for place, one in enumerate(shown)} for own in found for shown in own]
    assert borda(6, verdicts) == [pytest.approx(0.5)] * 6
