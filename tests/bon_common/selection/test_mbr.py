"""Reward and consensus together."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.mbr import mbr_values
from bon_common.selection.similarity import ngram_consensus


def test_closed_values_of_three_candidates() -> None:
    """Two are alike by 2/3, so their consensus is 1/3 and the third one's 0."""
    consensus = ngram_consensus(["abc", "abcd", "xyz"], 3)
    values = mbr_values([1.0, 0.5, 2.0], consensus, 6.0)
    assert values == pytest.approx([3.0, 2.5, 2.0], abs=1e-9)
    assert mbr_values([1.0, 0.5, 2.0], consensus, 3.0) == pytest.approx([2.0, 1.5, 2.0], abs=1e-9)


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1, 1)), max_size=8))
def test_without_beta_it_is_the_reward(pairs: list[tuple[float, float]]) -> None:
    rewards = [reward for reward, _ in pairs]
    assert mbr_values(rewards, [similar for _, similar in pairs], 0.0) == rewards


@given(
    st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1e6)
)
def test_more_of_both_is_never_worth_less(
    a: float, b: float, c: float, d: float, beta: float
) -> None:
    low, high = mbr_values([min(a, b), max(a, b)], [min(c, d), max(c, d)], beta)
    assert low <= high


@pytest.mark.parametrize("beta", [-1.0, math.nan])
def test_beta_is_not_negative(beta: float) -> None:
    with pytest.raises(ValueError, match="beta must not be negative"):
        mbr_values([1.0], [0.0], beta)


def test_each_candidate_has_both() -> None:
    with pytest.raises(ValueError, match="shorter"):
        mbr_values([1.0, 2.0], [0.5], 1.0)
