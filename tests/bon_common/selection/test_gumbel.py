"""The draw of an order."""

from __future__ import annotations

import math
from collections import Counter
from itertools import permutations

import pytest

from bon_common.selection.gumbel import gumbel_order

CHANCES = (0.1, 0.2, 0.3, 0.4)
LOGS = [math.log(chance) for chance in CHANCES]
DRAWS = 20_000


def test_orders_come_as_often_as_by_a_draw_without_replacement() -> None:
    counted = Counter(tuple(gumbel_order(LOGS, seed)) for seed in range(DRAWS))
    for order in permutations(range(len(CHANCES))):
        exact, left = 1.0, 1.0
        for position in order:
            exact *= CHANCES[position] / left
            left -= CHANCES[position]
        spread = math.sqrt(exact * (1 - exact) / DRAWS)
        assert counted[order] / DRAWS == pytest.approx(exact, abs=4 * spread)


def test_a_common_factor_changes_nothing() -> None:
    for seed in range(100):
        assert gumbel_order([log - 3 for log in LOGS], seed) == gumbel_order(LOGS, seed)


def test_a_seed_repeats_its_order_and_another_draws_another() -> None:
    orders = [tuple(gumbel_order([0.0] * 10, seed)) for seed in range(-50, 50)]
    assert orders == [tuple(gumbel_order([0.0] * 10, seed)) for seed in range(-50, 50)]
    assert len(set(orders)) == 100, "-3 and 3 are two seeds"


def test_the_order_of_a_seed_is_the_same_for_ever() -> None:
    """A new version that draws otherwise breaks the promise that a request can be repeated."""
    assert gumbel_order([0.0] * 8, 7) == [5, 0, 6, 2, 1, 7, 4, 3]


def test_without_a_seed_each_draw_is_new() -> None:
    orders = {tuple(gumbel_order([0.0] * 20, None)) for _ in range(3)}
    assert len(orders) == 3


def test_what_has_no_chance_is_left_out_and_moves_nothing_else() -> None:
    for seed in range(50):
        whole = gumbel_order([0.0] * 5, seed)
        without = gumbel_order([0.0, -math.inf, 0.0, 0.0, 0.0], seed)
        assert without == [position for position in whole if position != 1]
    assert gumbel_order([-math.inf], 1) == gumbel_order([], 1) == []
