from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.adaptive.gain import learn_gain
from bon_common.selection.adaptive.stopping import PriceRule
from tests.bon_common.selection.adaptive.draws import prompts

_learnt = learn_gain(prompts("gaussian", 60, 16, seed=1))
assert _learnt is not None
MODEL = _learnt
several = st.lists(st.floats(-50, 50), min_size=1, max_size=16)


@given(several)
def test_at_price_0_another_is_always_worth_it(rewards: list[float]) -> None:
    assert PriceRule(MODEL, price=0.0).worth_another(rewards)


def test_a_gain_equal_to_the_price_is_worth_it() -> None:
    gain = MODEL.gain([1.0, 2.0])
    assert PriceRule(MODEL, price=gain).worth_another([2.0, 1.0])
    assert not PriceRule(MODEL, price=gain * (1 + 1e-12)).worth_another([1.0, 2.0])


def test_a_lead_lowers_the_gain() -> None:
    assert MODEL.gain([0, 0.1, 0.2, 3]) < MODEL.gain([0, 0.1, 0.2, 1])


def test_no_rewards_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least one reward"):
        PriceRule(MODEL, price=0.0).worth_another([])
