"""A tournament's comparisons: results and limits."""

from __future__ import annotations

import pytest

from bon_common.judging.matches import Matches
from tests.bon_common.judging.synthetic import Asked, higher, without


async def test_a_preference_is_seen_from_both_sides() -> None:
    matches = Matches(Asked(lambda one, other: 0.75 if one > other else 0.25), 4)
    await matches.play([(2, 0), (0, 1)])
    assert (matches.preference(2, 0), matches.preference(0, 2)) == (0.75, 0.25)
    assert (matches.preference(0, 1), matches.preference(1, 0)) == (0.25, 0.75)
    assert matches.preference(1, 2) is None
    assert matches.left == 2


async def test_the_limit_cuts_a_round() -> None:
    asked = Asked(higher)
    matches = Matches(asked, 1)
    await matches.play([(0, 1), (2, 3)])
    await matches.play([(2, 3)])
    assert asked.rounds == [[(0, 1)]]
    assert not matches.judged(2)


async def test_an_abstention_is_no_verdict() -> None:
    matches = Matches(Asked(without(1)), 9)
    await matches.play([(0, 1), (0, 2)])
    assert [matches.judged(index) for index in range(3)] == [True, False, True]


async def test_repeats_go_where_the_margin_is_smallest() -> None:
    verdicts = {(0, 1): 0.9, (2, 3): 0.55, (4, 5): 0.4, (6, 7): None}
    asked = Asked(lambda one, other: verdicts[one, other])
    matches = Matches(asked, 99)
    await matches.play([*verdicts])
    await matches.repeat([*verdicts], 4)
    assert asked.times == {(0, 1): 1, (2, 3): 4, (4, 5): 2, (6, 7): 1}
    assert matches.margin(2, 3) == pytest.approx(0.2)
    assert matches.preference(2, 3) == pytest.approx(0.55)
