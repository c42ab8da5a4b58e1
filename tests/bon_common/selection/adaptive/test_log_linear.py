from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.adaptive.log_linear import fit_log_linear, solved

small = st.floats(-3, 3)


def test_two_groups_have_their_own_means() -> None:
    rows = [(0.0,)] * 3 + [(1.0,)] * 2
    learnt = fit_log_linear(rows, [0.0, 1.0, 2.0, 3.0, 5.0], ridge=0.0)
    assert learnt.mean((0.0,)) == pytest.approx(1.0, abs=1e-9)
    assert learnt.mean((1.0,)) == pytest.approx(4.0, abs=1e-9)
    assert learnt.mean((0.5,)) == pytest.approx(2.0, abs=1e-9), "between them it is geometric"


def test_nothing_is_extrapolated() -> None:
    learnt = fit_log_linear([(0.0,), (1.0,)], [1.0, 4.0], ridge=0.0)
    assert learnt.mean((9.0,)) == pytest.approx(4.0, abs=1e-9)
    assert learnt.mean((-9.0,)) == pytest.approx(1.0, abs=1e-9)


@given(st.lists(st.tuples(small, small, st.floats(0, 5)), min_size=3, max_size=20))
def test_the_means_add_up_to_the_targets(examples: list[tuple[float, float, float]]) -> None:
    """Whatever the ridge, because the bias is free (the first of the likelihood's equations)."""
    rows, targets = [e[:2] for e in examples], [e[2] for e in examples]
    learnt = fit_log_linear(rows, targets, ridge=1.0)
    total = math.fsum(learnt.mean(row) for row in rows)
    assert total == pytest.approx(math.fsum(targets), rel=1e-6, abs=1e-9)


def test_a_ridge_pulls_to_the_mean_of_all() -> None:
    rows, targets = [(0.0,), (1.0,)], [1.0, 4.0]
    means = [fit_log_linear(rows, targets, ridge).mean((1.0,)) for ridge in (0.0, 1.0, 1e6)]
    assert means[0] > means[1] > means[2]
    assert means[2] == pytest.approx(2.5, rel=1e-3)


def test_a_feature_that_does_not_vary_says_nothing() -> None:
    learnt = fit_log_linear([(7.0, 0.0), (7.0, 1.0)], [1.0, 4.0], ridge=1e-9)
    assert learnt.weights[0] == 0.0
    assert learnt.mean((8.0, 1.0)) == pytest.approx(4.0, rel=1e-6)


def test_targets_of_zero_have_no_mean() -> None:
    learnt = fit_log_linear([(0.0,), (1.0,), (5.0,)], [0.0, 0.0, 0.0], ridge=1.0)
    assert learnt.mean((1.0,)) < 1e-9


def test_a_feature_of_a_single_row_does_not_lead_astray() -> None:
    """Newton's first step would make its mean e^40 times as large."""
    rows = [(0.0, float(place % 2)) for place in range(2000)] + [(1.0, 1.0)]
    targets = [0.0] * 1990 + [1e-3] * 10 + [1.0]
    learnt = fit_log_linear(rows, targets, ridge=1.0)
    assert learnt.mean((1.0, 1.0)) == pytest.approx(1.0, rel=0.1)
    total = math.fsum(learnt.mean(row) for row in rows)
    assert total == pytest.approx(math.fsum(targets), rel=1e-6)


def test_no_rows_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        fit_log_linear([], [], ridge=1.0)


@given(st.lists(st.lists(small, min_size=3, max_size=3), min_size=3, max_size=3), st.data())
def test_the_solution_solves(root: list[list[float]], data: st.DataObject) -> None:
    right = data.draw(st.lists(small, min_size=3, max_size=3))
    square = [
        [math.fsum(a * b for a, b in zip(one, other, strict=True)) for other in root]
        for one in root
    ]
    for i in range(3):
        square[i][i] += 1.0
    found = solved(square, right)
    for row, value in zip(square, right, strict=True):
        product = math.fsum(a * x for a, x in zip(row, found, strict=True))
        assert product == pytest.approx(value, abs=1e-8)


def test_what_has_no_single_solution_is_an_error() -> None:
    with pytest.raises(ArithmeticError, match="positive definite"):
        solved([[1.0, 0.0], [1.0, 1.0]], [1.0, 1.0])
