from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.adaptive.student import incomplete_beta
from bon_common.selection.lead import chance_to_lead

votes = st.integers(0, 64)


@pytest.mark.parametrize(
    ("first", "second", "exact"),
    [
        (0, 0, Fraction(1, 2)),
        (1, 0, Fraction(3, 4)),
        (3, 0, Fraction(15, 16)),
        (4, 0, Fraction(31, 32)),
        (2, 2, Fraction(1, 2)),
        (3, 1, Fraction(13, 16)),
    ],
)
def test_closed_values(first: int, second: int, exact: Fraction) -> None:
    assert chance_to_lead(first, second) == exact


@given(votes, votes)
def test_it_is_the_tail_of_the_beta_distribution(first: int, second: int) -> None:
    beta = incomplete_beta(second + 1, first + 1, 0.5, 0.5)
    assert chance_to_lead(first, second) == pytest.approx(beta, abs=1e-12)


@given(votes, votes)
def test_one_of_the_two_leads(first: int, second: int) -> None:
    both = chance_to_lead(first, second) + chance_to_lead(second, first)
    assert both == pytest.approx(1, abs=1e-12)


def test_negative_votes_are_an_error() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        chance_to_lead(3, -1)
