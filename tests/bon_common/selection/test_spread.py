"""Rewards on one scale."""

from __future__ import annotations

import math
from statistics import fmean, pstdev

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bon_common.selection.spread import RewardSpread

REWARDS = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=16)


def test_closed_values() -> None:
    spread = RewardSpread.of([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])
    assert (spread.mean, spread.std) == pytest.approx((5.0, 2.0), abs=1e-9)
    assert spread.standardised(9.0) == pytest.approx(2.0, abs=1e-9)
    assert spread.standardised(4.0) == pytest.approx(-0.5, abs=1e-9)


def test_equal_rewards_keep_their_unit() -> None:
    assert RewardSpread.of([3.0]) == RewardSpread(3.0, 1.0)
    assert RewardSpread.of([0.1] * 3).standardised(1.1) == pytest.approx(1.0, abs=1e-9)


@given(REWARDS)
def test_standardised_rewards_have_mean_0_and_deviation_1(rewards: list[float]) -> None:
    spread = RewardSpread.of(rewards)
    assume(pstdev(rewards) > 1e-3)  # else it may be nothing but rounding
    standard = [spread.standardised(reward) for reward in rewards]
    assert fmean(standard) == pytest.approx(0, abs=1e-6)
    assert pstdev(standard) == pytest.approx(1, abs=1e-6)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=6))
def test_no_reward_is_too_large(rewards: list[float]) -> None:
    spread = RewardSpread.of(rewards)
    standard = [spread.standardised(reward) for reward in rewards]
    assert all(map(math.isfinite, standard))
    assert all(math.isfinite(value * value) for value in standard)


def test_there_are_rewards() -> None:
    with pytest.raises(ValueError, match="no rewards"):
        RewardSpread.of([])
