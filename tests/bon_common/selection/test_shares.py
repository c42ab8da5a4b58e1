"""Dealing in shares: closed values, Tijdeman's bound, and what happens when a taker is gone."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection import shares as module
from bon_common.selection.shares import dealt_among, turns

SHARES = st.lists(st.integers(1, 9), min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("shares", "order"),
    [
        ([5], (0,)),
        ([1, 1], (0, 1)),
        ([2, 1], (0, 1, 0)),
        ([1, 3], (1, 0, 1, 1)),
        ([20, 10], (0, 1, 0)),
        ([1, 1, 1], (0, 1, 2)),
        ([3, 2], (0, 1, 0, 1, 0)),
    ],
)
def test_closed_values(shares: list[int], order: tuple[int, ...]) -> None:
    assert turns(shares) == order


@pytest.mark.parametrize("shares", [[], [1, 0], [2, -1]])
def test_what_is_no_share_is_refused(shares: list[int]) -> None:
    with pytest.raises(ValueError, match="positive whole numbers"):
        turns(shares)


@given(SHARES)
def test_a_round_gives_each_its_share(shares: list[int]) -> None:
    order, divisor = turns(shares), math.gcd(*shares)
    assert [order.count(taker) * divisor for taker in range(len(shares))] == (
        shares if len(shares) > 1 else [divisor]
    )
    assert order[0] == shares.index(max(shares))


@given(SHARES.filter(lambda shares: len(shares) > 1))
def test_every_beginning_is_within_the_bound(shares: list[int]) -> None:
    order, total = turns(shares), sum(shares)
    bound = 1 - Fraction(1, 2 * len(shares) - 2)
    for count in range(len(order) + 1):
        for taker, share in enumerate(shares):
            exact = Fraction(count * share, total)
            assert abs(order[:count].count(taker) - exact) <= bound


@given(SHARES, st.data())
def test_without_some_the_others_keep_theirs_and_share_the_rest(
    shares: list[int], data: st.DataObject
) -> None:
    takers = range(len(shares))
    among = data.draw(st.sets(st.sampled_from(takers), min_size=1))
    order = turns(shares)
    displaced = []
    for number in range(3 * len(order)):
        own, taker = order[number % len(order)], dealt_among(number, shares, among)
        assert taker in among
        if own in among:
            assert taker == own
        else:
            displaced.append(taker)
    total = sum(shares[taker] for taker in among)
    for taker in among:
        exact = Fraction(len(displaced) * shares[taker], total)
        assert abs(displaced.count(taker) - exact) < 1


@given(SHARES, st.integers(0, 10_000))
def test_if_nobody_can_take_each_keeps_its_own(shares: list[int], number: int) -> None:
    order = turns(shares)
    assert dealt_among(number, shares, set()) == order[number % len(order)]


def test_a_long_round_is_computed_once_and_not_for_every_number() -> None:
    """While a policy is down, each candidate of each request asks."""
    shares = list(range(69, 101))
    others = set(range(1, 32))
    numbers = [number for number, taker in enumerate(turns(shares)) if taker == 0]
    dealt_among(numbers[0], shares, others)
    computed = module._turns.cache_info().misses
    dealt = [dealt_among(number, shares, others) for number in numbers]
    assert module._turns.cache_info().misses == computed
    assert len(dealt) == 69
    assert set(dealt) == others
