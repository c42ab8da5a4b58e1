"""Inference-time pessimism: the threshold and the chances, exactly."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.pessimistic import pessimistic, pessimistic_log_weights

REWARDS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=16)
BETA = st.floats(1e-6, 1e9)
ANY = st.floats(allow_nan=False, allow_infinity=False)
FOUR = [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("beta", "threshold", "chances"),
    [
        (1.0, 2 / 3, [0, 1 / 12, 1 / 3, 7 / 12]),
        (0.25, 2.0, [0, 0, 0, 1]),
        (0.5, 1.5, [0, 0, 0.25, 0.75]),
        (10.0, -8.5, [0.2125, 0.2375, 0.2625, 0.2875]),
    ],
)
def test_closed_values(beta: float, threshold: float, chances: list[float]) -> None:
    found, drawn = pessimistic(FOUR, beta)
    assert found == pytest.approx(threshold, abs=1e-9)
    assert drawn == pytest.approx(chances, abs=1e-9)
    assert [math.exp(log) for log in pessimistic_log_weights(FOUR, beta)] == pytest.approx(
        chances, abs=1e-9
    )


def test_one_candidate_and_equal_ones() -> None:
    assert pessimistic([5.0], 2.0) == (3.0, [1.0])
    assert pessimistic([5.0] * 4, 2.0) == (3.0, [0.25] * 4)
    assert pessimistic([5.0, 5.0, 0.0], 1e-3)[1] == pytest.approx([0.5, 0.5, 0.0], abs=1e-9)


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=16), st.floats(1e-2, 1e4))
def test_the_threshold_solves_its_equation(rewards: list[float], beta: float) -> None:
    threshold, chances = pessimistic(rewards, beta)
    weights = [max(reward - threshold, 0.0) / beta for reward in rewards]
    assert fmean(weights) == pytest.approx(1.0, abs=1e-9)
    assert chances == pytest.approx([weight / len(rewards) for weight in weights], abs=1e-9)


@given(REWARDS, BETA, st.randoms(use_true_random=False))
def test_the_order_of_candidates_does_not_matter(
    rewards: list[float], beta: float, random: Any
) -> None:
    order = list(range(len(rewards)))
    random.shuffle(order)
    before, after = pessimistic(rewards, beta)[1], pessimistic([rewards[i] for i in order], beta)[1]
    assert after == pytest.approx([before[i] for i in order], abs=1e-9)


@given(REWARDS, BETA)
def test_a_higher_reward_never_wins_less_often(rewards: list[float], beta: float) -> None:
    by_reward = sorted(zip(rewards, pessimistic(rewards, beta)[1], strict=True))
    found = [chance for _, chance in by_reward]
    assert found == sorted(found)
    for (reward, chance), (other, equal) in pairwise(by_reward):
        assert reward != other or chance == equal


@given(REWARDS, BETA)
def test_never_worse_than_any_candidate_at_random(rewards: list[float], beta: float) -> None:
    chances = pessimistic(rewards, beta)[1]
    expected = math.fsum(p * r for p, r in zip(chances, rewards, strict=True))
    assert expected >= fmean(rewards) - 1e-9 * max(1.0, *map(abs, rewards))


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=16), st.floats(1e-2, 1e3))
def test_who_never_wins_and_who_always_does(rewards: list[float], beta: float) -> None:
    for reward, chance in zip(rewards, pessimistic(rewards, beta)[1], strict=True):
        if reward <= fmean(rewards) - beta:
            assert chance < 1e-9
    count = len(rewards) + 1
    ahead = [*rewards, max(rewards) + count * beta]
    assert pessimistic(ahead, beta)[1][-1] == pytest.approx(1.0, abs=1e-9)
    nearly = [*rewards, max(rewards) + 0.9 * count * beta]
    assert pessimistic(nearly, beta)[1][-1] < 1 - 1e-3


@given(st.lists(ANY, min_size=1, max_size=8), st.floats(min_value=0, exclude_min=True))
def test_no_reward_and_no_beta_is_too_large_or_too_small(rewards: list[float], beta: float) -> None:
    chances = pessimistic(rewards, beta)[1]
    assert math.fsum(chances) == pytest.approx(1.0, abs=1e-9)
    assert not any(map(math.isnan, pessimistic_log_weights(rewards, beta)))


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan])
def test_beta_is_above_0(beta: float) -> None:
    with pytest.raises(ValueError, match="beta must be above 0"):
        pessimistic(FOUR, beta)


def test_nothing_to_choose_from() -> None:
    with pytest.raises(ValueError, match="no rewards"):
        pessimistic([], 1.0)
