from __future__ import annotations

import itertools
import random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.best_of_n import best_of_n, chances_to_be_best

PROXY = [0.3, -1.0, 2.0, 0.9]
GOLD = [1.0, 4.0, 2.0, -3.0]


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, 1.0),  # the mean
        (2, (1 * 1.0 + 2 * -3.0 + 3 * 2.0) / 6),
        (3, (1 * -3.0 + 3 * 2.0) / 4),
        (4, 2.0),  # the gold reward of the best by proxy
    ],
)
def test_exact_values(n: int, expected: float) -> None:
    assert best_of_n(PROXY, GOLD, n) == pytest.approx(expected, abs=1e-9)


def test_equals_the_mean_over_all_draws() -> None:
    rng = random.Random(0)
    proxy = [rng.gauss(0, 1) for _ in range(9)]
    gold = [rng.gauss(0, 1) for _ in range(9)]
    for n in range(1, 10):
        draws = itertools.combinations(range(9), n)
        mean = fmean(gold[max(draw, key=lambda i: proxy[i])] for draw in draws)
        assert best_of_n(proxy, gold, n) == pytest.approx(mean, abs=1e-9)


def test_ties_share_the_win_whatever_their_order() -> None:
    assert best_of_n([1.0, 1.0, 0.0], [3.0, 1.0, 0.0], 3) == pytest.approx(2.0, abs=1e-9)
    assert best_of_n([0.0, 1.0, 1.0], [0.0, 1.0, 3.0], 2) == pytest.approx(2.0, abs=1e-9)
    assert best_of_n([5.0] * 4, GOLD, 3) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("n", [0, 5])
def test_n_is_within_the_sample(n: int) -> None:
    with pytest.raises(ValueError, match="within 1 to 4"):
        best_of_n(PROXY, GOLD, n)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="4 proxy rewards for 3"):
        best_of_n(PROXY, GOLD[:3], 1)


def test_it_averages_over_the_orders_of_ties() -> None:
    proxy, gold = [1.0, 1.0, 0.0, 1.0], [10.0, 20.0, 30.0, 60.0]
    for n in range(1, 5):
        orders = []
        for order in itertools.permutations(range(4)):
            broken = [proxy[i] + 1e-6 * order[i] for i in range(4)]
            orders.append(best_of_n(broken, gold, n))
        assert best_of_n(proxy, gold, n) == pytest.approx(fmean(orders), abs=1e-9)


def test_a_discrete_policy() -> None:
    """P(y) = F(y)^n - F(y-)^n; with all of a large sample's weights known it is near enough."""
    values = [0.0] * 500 + [1.0] * 300 + [2.0] * 200
    n = 4
    exact = (0.8**n - 0.5**n) * 1.0 + (1 - 0.8**n) * 2.0
    assert best_of_n(values, values, n) == pytest.approx(exact, abs=5e-3)


def test_large_samples_do_not_overflow() -> None:
    values = [float(i) for i in range(5000)]
    # E[max] of n from 1..M without replacement is n (M + 1) / (n + 1); here from 0.
    assert best_of_n(values, values, 2000) == pytest.approx(2000 * 5001 / 2001 - 1, rel=1e-9)


def test_chances_to_be_best() -> None:
    assert chances_to_be_best([0.3, -1.0, 2.0, 0.9], 2) == pytest.approx([1 / 6, 0, 3 / 6, 2 / 6])
    assert chances_to_be_best([5.0, 1.0, 5.0], 1) == pytest.approx([1 / 3] * 3, abs=1e-9)
    assert chances_to_be_best([5.0, 1.0, 5.0], 3) == pytest.approx([0.5, 0, 0.5], abs=1e-9)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=7), st.data())
def test_chances_are_those_of_all_draws(values: list[int], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, len(values)))
    counted = [0.0] * len(values)
    draws = list(itertools.combinations(range(len(values)), n))
    for draw in draws:
        best = [i for i in draw if values[i] == max(values[j] for j in draw)]
        for i in best:
            counted[i] += 1 / len(best) / len(draws)
    chances = chances_to_be_best([float(value) for value in values], n)
    assert chances == pytest.approx(counted, abs=1e-9)
    assert sum(chances) == pytest.approx(1, abs=1e-9)
