from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.pruning.chance import Belief, chances_to_win

EXACT = 1e-9
beliefs = st.lists(st.builds(Belief, st.floats(-5, 5), st.floats(0.2, 2)), min_size=1, max_size=6)


def below(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


def test_of_two_the_difference_decides() -> None:
    first, second = Belief(1.0, 0.5), Belief(0.2, 1.2)
    expected = below(0.8 / math.hypot(0.5, 1.2))
    assert chances_to_win([first, second]) == pytest.approx([expected, 1 - expected], abs=EXACT)


def test_one_alone_has_to_beat_the_incumbent() -> None:
    assert chances_to_win([Belief(1.0, 0.7)]) == pytest.approx([1.0], abs=EXACT)
    expected = 1 - below((1.5 - 1.0) / 0.7)
    assert chances_to_win([Belief(1.0, 0.7)], 1.5) == pytest.approx([expected], abs=EXACT)


@pytest.mark.parametrize("count", [2, 5, 16, 64])
def test_equal_ones_share_what_the_incumbent_leaves(count: int) -> None:
    alike = [Belief(-3.0, 2.0)] * count
    assert chances_to_win(alike) == pytest.approx([1 / count] * count, abs=EXACT)
    left = 1 - below((-1.0 + 3.0) / 2.0) ** count
    assert chances_to_win(alike, -1.0) == pytest.approx([left / count] * count, abs=EXACT)


@given(beliefs, st.none() | st.floats(-8, 8))
def test_all_chances_and_the_incumbents_are_one(
    candidates: Sequence[Belief], incumbent: float | None
) -> None:
    chances = chances_to_win(candidates, incumbent)
    stays = 0.0
    if incumbent is not None:
        stays = math.prod(below((incumbent - one.mean) / one.deviation) for one in candidates)
    assert sum(chances) + stays == pytest.approx(1.0, abs=EXACT)
    assert all(chance >= 0 for chance in chances)


@given(beliefs, st.floats(-8, 8))
def test_the_order_does_not_matter(candidates: list[Belief], incumbent: float) -> None:
    before = dict(zip(candidates, chances_to_win(candidates, incumbent), strict=True))
    shuffled = sorted(candidates, key=lambda one: (one.deviation, one.mean))
    after = dict(zip(shuffled, chances_to_win(shuffled, incumbent), strict=True))
    assert after == pytest.approx(before, abs=EXACT)


def test_far_behind_is_no_chance() -> None:
    assert chances_to_win([Belief(0.0, 1.0), Belief(100.0, 1.0)]) == pytest.approx([0.0, 1.0])
    assert chances_to_win([Belief(0.0, 1.0)], 100.0) == [0.0]
    assert chances_to_win([]) == []


def test_beliefs_must_have_a_width() -> None:
    with pytest.raises(ValueError, match="above 0"):
        chances_to_win([Belief(0.0, 1.0), Belief(0.0, 0.0)])
