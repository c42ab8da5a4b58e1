"""Rewards from places."""

from __future__ import annotations

from bon_common.judging.shares import shares


def test_each_has_the_share_of_the_others_below_it() -> None:
    assert shares([3, 1, 2]) == [1.0, 0.0, 0.5]
    assert shares([2, 1, 2, 0]) == [5 / 6, 1 / 3, 5 / 6, 0.0]


def test_what_nothing_tells_apart_has_the_mean() -> None:
    assert shares([(0, 1.0)] * 5) == [0.5] * 5
    assert shares([7]) == [0.5]


def test_an_answer_without_a_place_has_no_reward_and_counts_for_nobody() -> None:
    assert shares([None, 2, 1]) == [None, 1.0, 0.0]
    assert shares([None, None]) == [None, None]
    assert shares([]) == []
