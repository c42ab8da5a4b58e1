"""The figures of ``benchmarks/judge_tournament.py``."""

from __future__ import annotations

import random
from itertools import product

import pytest

from tests.benchmarks.programs import module

formulas, bench = module("tournament_formulas"), module("judge_tournament")


@pytest.mark.parametrize("n", [2, 4, 8, 64])
def test_a_knockout_by_a_judge_that_knows_all_or_nothing(n: int) -> None:
    assert formulas.knockout_rank(n, 1.0) == pytest.approx(1)
    assert formulas.knockout_rank(n, 0.5) == pytest.approx((n + 1) / 2)
    assert formulas.knockout_best(n, 0.5) == pytest.approx(1 / n)


def test_the_rank_of_a_knockout_over_four_by_counting() -> None:
    """The best meets each of the others in the first round equally often."""
    q, expected = 0.7, 0.0
    for other in (2, 3, 4):
        one, two = (r for r in (2, 3, 4) if r != other)
        for first, second, last in product((True, False), repeat=3):
            finalists = (1 if first else other, one if second else two)
            winner = min(finalists) if last else max(finalists)
            chance = 1.0
            for right in (first, second, last):
                chance *= q if right else 1 - q
            expected += chance * winner / 3
    assert formulas.knockout_rank(4, q) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "finalists"), [(2, 4), (4, 4), (8, 4), (16, 3)])
def test_a_pivot_tournament_by_a_judge_that_knows_all_or_nothing(n: int, finalists: int) -> None:
    """Of those that are better than the pivot too many are drawn from at random."""
    drawn = [min(1.0, finalists / better) if better else 1.0 for better in range(n)]
    assert formulas.pivot_best(n, 1.0, finalists) == pytest.approx(sum(drawn) / n)
    assert formulas.pivot_best(n, 0.5, finalists) == pytest.approx(1 / n)
    assert formulas.pivot_best(2, 0.7, finalists) == pytest.approx(0.7)


@pytest.mark.parametrize("arm", ["_random_pivot", "_knockout"])
def test_simulated_and_exact_figures_agree(arm: str) -> None:
    exact = formulas.pivot_best(8, 0.75, 4) if arm == "_random_pivot" else 0.75**3
    found = bench.simulate("fresh", arm, getattr(bench, arm), 8, 0.75, 2000)
    assert found.best.mean == pytest.approx(exact, abs=0.04)


def test_both_orders_remove_what_one_leaves() -> None:
    found = bench.equals(0.6, 4000)
    assert found["both orders"].mean == pytest.approx(0.5, abs=0.03)
    assert found["one order"].mean == pytest.approx(0.7, abs=0.03)


def test_grades_order_random_pairs_as_often_as_the_judge_is_right() -> None:
    chance = random.Random(0)
    right = 0
    for _ in range(4000):
        judge = bench.SyntheticJudge("close", 0.75, [0, 1], chance, 0.0)
        # Of two Gaussian qualities in order, as of any random pair.
        better, worse = judge.grades(2)
        right += better > worse
    assert right / 4000 == pytest.approx(0.75, abs=0.03)


def test_a_fixed_judge_repeats_itself() -> None:
    judge = bench.SyntheticJudge("fixed", 0.6, [*range(9)], random.Random(1), 0.0)
    pairs = [(one, other) for one in range(9) for other in range(9) if one != other]
    assert [judge.ask(*p) for p in pairs] == [judge.ask(*p) for p in pairs]
