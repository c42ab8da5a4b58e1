"""Soft best-of-n: the chances, exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.soft import soft_log_weights

REWARDS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=16)
TEMPERATURE = st.floats(1e-6, 1e9)
ANY = st.floats(allow_nan=False, allow_infinity=False)


def chances(rewards: Sequence[float], temperature: float) -> list[float]:
    weights = [math.exp(weight) for weight in soft_log_weights(rewards, temperature)]
    return [weight / math.fsum(weights) for weight in weights]


def test_closed_values() -> None:
    rewards = [math.log(1), math.log(2), math.log(5)]
    assert chances(rewards, 1.0) == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=1e-9)
    assert chances(rewards, 0.5) == pytest.approx([1 / 30, 4 / 30, 25 / 30], abs=1e-9)
    assert chances([0.0, 2.0], 2.0)[1] == pytest.approx(math.e / (1 + math.e), abs=1e-9)


def test_the_limits() -> None:
    rewards = [0.0, 1.0, 3.0, 3.0, 2.0]
    assert chances(rewards, 1e-3) == pytest.approx([0, 0, 0.5, 0.5, 0], abs=1e-9)
    assert chances(rewards, 1e12) == pytest.approx([0.2] * 5, abs=1e-9)


@given(REWARDS, TEMPERATURE, st.randoms(use_true_random=False))
def test_the_order_of_candidates_does_not_matter(
    rewards: list[float], temperature: float, random: Any
) -> None:
    order = list(range(len(rewards)))
    random.shuffle(order)
    before, after = chances(rewards, temperature), chances([rewards[i] for i in order], temperature)
    assert after == pytest.approx([before[i] for i in order], abs=1e-9)


@given(REWARDS, TEMPERATURE)
def test_a_higher_reward_never_wins_less_often(rewards: list[float], temperature: float) -> None:
    by_reward = sorted(zip(rewards, chances(rewards, temperature), strict=True))
    found = [chance for _, chance in by_reward]
    assert found == sorted(found)
    for (reward, chance), (other, equal) in pairwise(by_reward):
        assert reward != other or chance == equal


@given(REWARDS, TEMPERATURE)
def test_never_worse_than_any_candidate_at_random(rewards: list[float], temperature: float) -> None:
    found = chances(rewards, temperature)
    expected = math.fsum(p * r for p, r in zip(found, rewards, strict=True))
    assert expected >= fmean(rewards) - 1e-9 * max(1.0, *map(abs, rewards))


@given(st.lists(ANY, min_size=1, max_size=8), st.floats(min_value=0, exclude_min=True))
def test_no_reward_and_no_temperature_is_too_large_or_too_small(
    rewards: list[float], temperature: float
) -> None:
    weights = soft_log_weights(rewards, temperature)
    assert max(weights) == 0.0
    assert not any(map(math.isnan, weights))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_a_temperature_is_above_0(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be above 0"):
        soft_log_weights([1.0], temperature)
