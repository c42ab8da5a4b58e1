from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.adaptive.student import incomplete_beta
from bon_common.selection.lead import chance_to_lead, chance_to_stay

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


@pytest.mark.parametrize(
    ("first", "second", "others", "more", "exact"),
    [
        (3, 1, 0, 0, Fraction(1)),
        (2, 2, 1, 0, Fraction(1, 2)),
        (1, 2, 0, 0, Fraction(0)),
        # One more goes to the second with 2 of 6, and then they tie.
        (2, 1, 0, 1, Fraction(5, 6)),
        # The second can no longer overtake it.
        (5, 2, 3, 2, Fraction(1)),
        (3, 0, 0, 2, Fraction(1)),
        # Both go to the second with 1/4 x 2/5; one of them, and the other to a third one, makes a
        # tie with 2 x 1/4 x 1/5.
        (1, 0, 0, 2, Fraction(17, 20)),
    ],
)
def test_closed_values_of_staying(
    first: int, second: int, others: int, more: int, exact: Fraction
) -> None:
    assert chance_to_stay(first, second, others, more) == pytest.approx(float(exact), abs=1e-12)


few = st.integers(0, 6)


def one_by_one(first: int, second: int, others: int, more: int) -> Fraction:
    """The same by drawing vote after vote from Polya's urn."""
    if more == 0:
        return Fraction(1 + (first > second) - (first < second), 2)
    total = first + second + others + 3
    return (
        Fraction(first + 1, total) * one_by_one(first + 1, second, others, more - 1)
        + Fraction(second + 1, total) * one_by_one(first, second + 1, others, more - 1)
        + Fraction(others + 1, total) * one_by_one(first, second, others + 1, more - 1)
    )


@given(few, few, few, few)
def test_staying_is_drawing_vote_by_vote(first: int, second: int, others: int, more: int) -> None:
    exact = float(one_by_one(first, second, others, more))
    assert chance_to_stay(first, second, others, more) == pytest.approx(exact, abs=1e-12)


@given(votes, votes, votes, few)
def test_one_of_the_two_stays(first: int, second: int, others: int, more: int) -> None:
    both = chance_to_stay(first, second, others, more) + chance_to_stay(second, first, others, more)
    assert both == pytest.approx(1, abs=1e-12)


def test_negative_votes_cannot_stay() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        chance_to_stay(3, 1, 0, -1)
