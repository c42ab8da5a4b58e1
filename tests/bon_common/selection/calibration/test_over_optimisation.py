"""The gold curve over the distance: exact data give exact parameters."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.calibration.over_optimisation import (
    GoldCurve,
    best_of_n_kl,
    fit_gold_curve,
    n_at_kl,
)

SIZES = [1, 2, 3, 4, 6, 8, 12, 16, 32]


def test_the_kl_of_best_of_n() -> None:
    assert best_of_n_kl(1) == 0
    assert best_of_n_kl(2) == pytest.approx(math.log(2) - 0.5, abs=1e-15)
    found = [best_of_n_kl(n) for n in (4, 8, 16, 32)]
    assert found == pytest.approx([0.6363, 1.2044, 1.8351, 2.4970], abs=5e-5)


@given(st.floats(1.0, 1e6))
def test_n_at_kl_is_its_inverse(n: float) -> None:
    assert best_of_n_kl(n_at_kl(best_of_n_kl(n))) == pytest.approx(best_of_n_kl(n), abs=1e-9)


def test_the_ends_of_n_at_kl() -> None:
    assert n_at_kl(0) == pytest.approx(1.0, abs=1e-7)
    assert n_at_kl(61) == math.inf
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        n_at_kl(-1)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.35), (0.2, -0.1), (-1.0, 0.0)])
def test_exact_data_give_the_parameters_back(alpha: float, beta: float) -> None:
    distances = [math.sqrt(best_of_n_kl(n)) for n in SIZES]
    found = fit_gold_curve(SIZES, [d * (alpha - beta * d) for d in distances])
    assert found.alpha == pytest.approx(alpha, abs=1e-9)
    assert found.beta == pytest.approx(beta, abs=1e-9)


def test_where_gold_is_highest() -> None:
    best = GoldCurve(1.0, 0.35).best_n
    assert best == pytest.approx(19.9, abs=0.05)
    assert best is not None
    assert best_of_n_kl(best) == pytest.approx((1 / 0.7) ** 2, abs=1e-9)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (1.0, -0.2), (0.0, 0.3), (-1.0, 0.3)])
def test_without_a_top_there_is_no_best(alpha: float, beta: float) -> None:
    assert GoldCurve(alpha, beta).best_n is None


def test_one_size_is_too_few() -> None:
    with pytest.raises(ValueError, match="two sizes above 1"):
        fit_gold_curve([1, 4, 4], [0.0, 1.0, 1.0])
