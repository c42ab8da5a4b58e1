"""When a cascade asks the better model."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.escalation import Escalation, escalation

REWARDS = st.lists(st.none() | st.floats(-5, 5), max_size=6)


@pytest.mark.parametrize(
    ("rewards", "wanted", "outcome"),
    [
        ([1.3], 1, Escalation.GOOD_ENOUGH),
        ([math.nextafter(1.3, 0)], 1, Escalation.ESCALATE),
        ([0.0, 1.4], 1, Escalation.GOOD_ENOUGH),
        ([0.0, 1.4], 2, Escalation.ESCALATE),
        ([1.4, 1.4], 2, Escalation.GOOD_ENOUGH),
        ([None, 1.4], 1, Escalation.GOOD_ENOUGH),
        ([None, 0.1], 1, Escalation.ESCALATE),
        ([None, None], 1, Escalation.UNJUDGED),
        ([], 1, Escalation.ESCALATE),
        ([math.nan], 1, Escalation.ESCALATE),
        ([math.inf], 1, Escalation.GOOD_ENOUGH),
    ],
)
def test_closed_values(rewards: list[float | None], wanted: int, outcome: Escalation) -> None:
    assert escalation(rewards, 1.3, wanted) is outcome


def test_nobody_wants_less_than_one() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        escalation([1.0], 1.3, 0)


@given(REWARDS, st.floats(-5, 5), st.floats(0, 5), st.integers(1, 3))
def test_a_higher_threshold_never_saves_a_call(
    rewards: list[float | None], threshold: float, more: float, wanted: int
) -> None:
    low, high = (escalation(rewards, t, wanted) for t in (threshold, threshold + more))
    assert (low is Escalation.UNJUDGED) == (high is Escalation.UNJUDGED)
    if low is Escalation.ESCALATE:
        assert high is Escalation.ESCALATE


@given(REWARDS, st.floats(-5, 5), st.integers(1, 3), st.floats(0, 5))
def test_a_further_good_answer_never_costs_a_call(
    rewards: list[float | None], threshold: float, wanted: int, over: float
) -> None:
    if escalation(rewards, threshold, wanted) is Escalation.GOOD_ENOUGH:
        more = [*rewards, threshold + over]
        assert escalation(more, threshold, wanted) is Escalation.GOOD_ENOUGH
