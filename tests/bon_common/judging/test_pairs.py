"""One preference from two verdicts on a pair."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.judging.pairs import agreed, averaged, settled


@pytest.mark.parametrize(
    ("straight", "swapped", "known"),
    [(1.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0.5, 0.5, 0.5), (1.0, 1.0, None), (0.5, 0.0, None)],
)
def test_a_verdict_that_changes_with_the_order_is_a_tie(
    straight: float, swapped: float, known: float | None
) -> None:
    assert agreed(straight, swapped) == known
    assert settled(straight, swapped) == (0.5 if known is None else known)


@pytest.mark.parametrize("join", [settled, averaged])
@pytest.mark.parametrize(("straight", "swapped"), [(None, 1.0), (0.0, None), (None, None)])
def test_a_verdict_in_one_order_is_none(
    join: type, straight: float | None, swapped: float | None
) -> None:
    assert join(straight, swapped) is None


@given(st.floats(-20, 20), st.floats(-20, 20))
def test_a_bias_for_the_place_never_changes_which_is_preferred(apart: float, bias: float) -> None:
    """``apart`` are the log-odds of the first answer, ``bias`` those of the answer shown first."""

    def says_first(log_odds: float) -> float:
        return 1 / (1 + math.exp(-log_odds))

    preference = averaged(says_first(apart + bias), says_first(bias - apart))
    assert preference is not None
    if abs(apart) > 0.01 and abs(bias) < 10:
        assert (preference > 0.5) == (apart > 0)
    elif apart == 0:
        assert preference == 0.5


@given(st.floats(0, 1))
def test_a_judge_that_sees_only_the_place_ties(chance: float) -> None:
    assert averaged(chance, chance) == 0.5
