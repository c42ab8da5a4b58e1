"""Pivot tournaments: calls, winners, ties, abstentions, limits."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.judging.pivot import most_comparisons, pivot
from tests.bon_common.judging.synthetic import Asked, higher, silent, ties, without


@pytest.mark.parametrize("count", range(1, 129))
async def test_n_log_n_comparisons_find_the_best(count: int) -> None:
    asked = Asked(higher)
    rewards = await pivot(count, asked, Random(count))
    assert asked.comparisons <= count * (count - 1).bit_length()
    assert asked.comparisons <= count * (count - 1) / 2
    assert set(asked.times.values()) <= {1}
    if count > 1:
        known = [reward for reward in rewards if reward is not None]
        assert rewards.index(max(known)) == count - 1
        assert known.count(max(known)) == 1


@given(
    st.integers(1, 128),
    st.integers(0, 20),
    st.sampled_from([None, 1, 2, 4]),
    st.one_of(st.none(), st.integers(0, 300)),
    st.randoms(use_true_random=False),
)
async def test_calls_are_bounded_whatever_the_judge_says(
    count: int, repeats: int, finalists: int | None, limit: int | None, chance: Random
) -> None:
    asked = Asked(lambda one, other: chance.choice([0.0, 0.5, 1.0, None, 0.7]))
    rewards = await pivot(
        count, asked, Random(1), repeats=repeats, finalists=finalists, limit=limit
    )
    most = most_comparisons(count, repeats)
    assert most == count * (count - 1).bit_length() + repeats
    assert asked.comparisons <= (most if limit is None else min(most, limit))
    assert all(reward is None or 0 <= reward <= 1 for reward in rewards)


async def test_all_are_placed() -> None:
    rewards = await pivot(5, Asked(higher), Random(0))
    assert rewards == [0.0, 0.25, 0.5, 0.75, 1.0]


async def test_the_tournament_is_that_of_the_seed() -> None:
    first, again, other = Asked(higher), Asked(higher), Asked(higher)
    await pivot(16, first, Random(1))
    await pivot(16, again, Random(1))
    await pivot(16, other, Random(2))
    assert first.rounds == again.rounds != other.rounds


@pytest.mark.parametrize("finalists", [None, 2, 3])
@pytest.mark.parametrize("count", [2, 3, 8, 13])
async def test_only_ties_tell_nothing(count: int, finalists: int | None) -> None:
    rewards = await pivot(count, Asked(ties), Random(0), finalists=finalists)
    assert rewards == [0.5] * count


async def test_few_finalists_take_few_calls() -> None:
    asked = Asked(higher)
    rewards = await pivot(16, asked, Random(0), finalists=3)
    assert asked.comparisons <= 3 + 15 + 3
    assert rewards[15] == 1.0


async def test_an_answer_that_cannot_be_judged_has_no_reward() -> None:
    for seed in range(20):
        rewards = await pivot(7, Asked(without(3)), Random(seed))
        assert rewards[3] is None
        assert rewards[6] == 1.0
        assert None not in rewards[:3] + rewards[4:]


async def test_a_pivot_that_cannot_be_judged_is_replaced() -> None:
    for seed in range(20):
        rewards = await pivot(5, Asked(without(2)), Random(seed), seeds=1)
        assert (rewards[2], rewards[4]) == (None, 1.0)


async def test_a_pivot_that_cannot_be_judged_leaves_room_for_a_final() -> None:
    for seed in range(50):
        assert await pivot(4, Asked(without(1)), Random(seed)) == [0.0, None, 0.5, 1.0]


async def test_a_single_missing_verdict_costs_no_reward() -> None:
    for seed in range(20):
        asked = Asked(lambda a, b: None if {a, b} == {0, 6} else higher(a, b))
        rewards = await pivot(7, asked, Random(seed))
        assert None not in rewards
        assert rewards[6] == max(r for r in rewards if r is not None)


async def test_without_any_verdict_nobody_has_a_reward() -> None:
    assert await pivot(9, Asked(silent), Random(0)) == [None] * 9


@pytest.mark.parametrize(("limit", "players"), [(1, 2), (3, 3), (6, 4), (8, 5), (20, 11)])
async def test_a_limit_lets_only_some_take_part(limit: int, players: int) -> None:
    asked = Asked(higher)
    rewards = await pivot(20, asked, Random(0), limit=limit)
    assert asked.comparisons <= limit
    known = [index for index, reward in enumerate(rewards) if reward is not None]
    assert len(known) == players
    assert rewards[known[-1]] == 1.0


async def test_without_any_comparison_nobody_has_a_reward() -> None:
    assert await pivot(3, Asked(higher), Random(0), limit=0) == [None] * 3


async def test_repeats_go_to_who_is_close_to_the_first() -> None:
    """3 and 2 are close, 1 and 0 are far."""
    verdicts = {(2, 3): 0.45}
    asked = Asked(lambda a, b: verdicts.get((a, b), 1 - verdicts.get((b, a), 1 - higher(a, b))))
    rewards = await pivot(4, asked, Random(0), repeats=2)
    assert asked.times[2, 3] == 3
    assert rewards[3] == 1.0
