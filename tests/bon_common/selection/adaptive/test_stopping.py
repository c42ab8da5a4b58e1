from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.adaptive.prior import NormalInverseGamma
from bon_common.selection.adaptive.stopping import PriceRule
from bon_common.selection.adaptive.student import density, upper_tail

PRIOR = NormalInverseGamma(mean=0.0, strength=0.1, shape=3.0, scale=3.0)
several = st.lists(st.floats(-50, 50), min_size=1, max_size=16)


def test_the_gain_by_hand() -> None:
    """After 0 and 0 with strength 2, mean 0, shape 1 and scale 1 the next sample is Student's t
    with 4 degrees of freedom and scale sqrt(1 * 5 / (2 * 4)); the best is its mean."""
    rule = PriceRule(NormalInverseGamma(0.0, 2.0, 1.0, 1.0), price=0.0)
    exact = (5 / 8) ** 0.5 * 4 / 3 * density(0.0, 4)
    assert rule.gain_of_another([0.0, 0.0]) == pytest.approx(exact, abs=1e-12)


@given(several, st.randoms(use_true_random=False))
def test_the_order_of_the_rewards_does_not_matter(
    rewards: list[float], source: random.Random
) -> None:
    mixed = rewards[:]
    source.shuffle(mixed)
    rule = PriceRule(PRIOR, price=0.1)
    assert rule.gain_of_another(mixed) == rule.gain_of_another(rewards)


@given(several)
def test_at_price_0_another_is_always_worth_it(rewards: list[float]) -> None:
    assert PriceRule(PRIOR, price=0.0).worth_another(rewards)


@given(several, st.floats(0.001, 10))
def test_the_gain_decides(rewards: list[float], price: float) -> None:
    rule = PriceRule(PRIOR, price)
    assert rule.worth_another(rewards) == (rule.gain_of_another(rewards) >= price)


def test_a_gain_equal_to_the_price_is_worth_it() -> None:
    gain = PriceRule(PRIOR, price=0.0).gain_of_another([1.0, 2.0])
    assert PriceRule(PRIOR, price=gain).worth_another([2.0, 1.0])
    assert not PriceRule(PRIOR, price=gain * (1 + 1e-12)).worth_another([1.0, 2.0])


def test_a_lead_lowers_the_gain() -> None:
    strong = PriceRule(NormalInverseGamma(0.0, 100.0, 100.0, 100.0), price=0.0)
    assert strong.gain_of_another([0, 0, 0, 3]) < strong.gain_of_another([0, 0, 0, 1])


def test_a_known_distribution_leaves_its_own_expected_gain() -> None:
    known = PriceRule(NormalInverseGamma(0.0, 1e4, 1e4, 1e4), price=0.0)
    gaussian = density(1.5, 1e6) - 1.5 * upper_tail(1.5, 1e4)
    assert known.gain_of_another([1.5]) == pytest.approx(gaussian, rel=0.01)


def test_no_rewards_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least one reward"):
        PriceRule(PRIOR, price=0.0).worth_another([])
