"""Knockout tournaments: calls, winners, ties, abstentions, limits."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.judging.knockout import knockout, most_comparisons
from tests.bon_common.judging.synthetic import Asked, higher, silent, ties, without


@pytest.mark.parametrize("count", range(1, 129))
async def test_n_less_one_matches_find_the_best(count: int) -> None:
    asked = Asked(higher)
    rewards = await knockout(count, asked, Random(count))
    assert asked.comparisons == count - 1
    assert len(asked.rounds) == (count - 1).bit_length()
    if count > 1:
        known = [reward for reward in rewards if reward is not None]
        assert known == rewards
        assert all(0 <= reward <= 1 for reward in known)
        assert rewards.index(max(known)) == count - 1
        assert known.count(max(known)) == 1


@given(st.integers(1, 128), st.integers(0, 20), st.randoms(use_true_random=False))
async def test_calls_are_bounded_whatever_the_judge_says(
    count: int, repeats: int, chance: Random
) -> None:
    asked = Asked(lambda one, other: chance.choice([0.0, 0.5, 1.0, None, 0.7]))
    rewards = await knockout(count, asked, Random(1), repeats=repeats)
    assert asked.comparisons <= most_comparisons(count, repeats) == 2 * count - 1 + repeats
    assert all(reward is None or 0 <= reward <= 1 for reward in rewards)


async def test_the_bracket_is_that_of_the_seed() -> None:
    first, again, other = Asked(higher), Asked(higher), Asked(higher)
    await knockout(16, first, Random(1))
    await knockout(16, again, Random(1))
    await knockout(16, other, Random(2))
    assert first.rounds == again.rounds != other.rounds


async def test_who_goes_further_has_more() -> None:
    rewards = await knockout(8, Asked(higher), Random(3))
    assert sorted(reward for reward in rewards if reward is not None) == [
        pytest.approx(x) for x in (1.5 / 7,) * 4 + (4.5 / 7,) * 2 + (6 / 7, 1.0)
    ]


@pytest.mark.parametrize("count", [2, 3, 8, 13])
async def test_only_ties_tell_nothing(count: int) -> None:
    assert await knockout(count, Asked(ties), Random(0)) == [0.5] * count


async def test_two_that_tie_in_the_final_are_equal() -> None:
    """0 and 1 tie whenever they meet, and both beat the others."""

    def verdict(one: int, other: int) -> float:
        return 0.5 if {one, other} == {0, 1} else float(one < other)

    for seed in range(20):
        asked = Asked(verdict)
        rewards = await knockout(4, asked, Random(seed))
        in_the_final = set(asked.rounds[-1][0]) == {0, 1}
        best = max(reward for reward in rewards if reward is not None)
        assert (rewards[0] == rewards[1]) == in_the_final
        assert best in rewards[:2]


async def test_an_answer_that_cannot_be_judged_costs_no_other_its_chance() -> None:
    for seed in range(20):
        rewards = await knockout(7, Asked(without(3)), Random(seed))
        assert rewards[3] is None
        assert rewards[6] == 1.0
        assert None not in rewards[:3] + rewards[4:]


async def test_without_any_verdict_nobody_has_a_reward() -> None:
    asked = Asked(silent)
    assert await knockout(9, asked, Random(0)) == [None] * 9
    assert asked.comparisons <= most_comparisons(9)


async def test_a_limit_lets_only_some_take_part() -> None:
    asked = Asked(higher)
    rewards = await knockout(10, asked, Random(0), limit=4)
    assert asked.comparisons == 4
    known = [index for index, reward in enumerate(rewards) if reward is not None]
    assert len(known) == 5
    assert rewards[known[-1]] == 1.0
    assert await knockout(3, asked, Random(0), limit=0) == [None] * 3


async def test_a_limit_that_abstentions_use_up_leaves_the_first_place_shared() -> None:
    asked = Asked(without(0, 1))
    rewards = await knockout(8, asked, Random(2), limit=7)
    assert asked.comparisons == 7
    assert rewards[:2] == [None, None]
    known = [reward for reward in rewards if reward is not None]
    assert known.count(max(known)) > 1


async def test_repeats_go_to_the_pairs_in_doubt() -> None:
    doubtful = {(0, 1): 0.6, (2, 3): 0.9}
    asked = Asked(lambda one, other: doubtful.get((one, other), higher(one, other)))
    await knockout(2, asked, Random(0), repeats=3)
    assert [*asked.times.values()] == [4]
    asked = Asked(lambda one, other: 1.0 if one > other else 0.45)
    await knockout(8, asked, Random(0), repeats=6)
    assert asked.comparisons == 13
