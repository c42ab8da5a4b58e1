from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from bon_common.selection.adaptive.student import density, incomplete_beta, upper_tail


def one(z: float) -> float:
    return 0.5 - math.atan(z) / math.pi


def two(z: float) -> float:
    root = math.sqrt(2 + z * z)
    return 1 / (root * (root + z))


def three(z: float) -> float:
    x = z / math.sqrt(3)
    return 0.5 - (x / (1 + x * x) + math.atan(x)) / math.pi


def four(z: float) -> float:
    w = 1 + z * z / 4
    return 0.5 - 3 / 8 * z / math.sqrt(w) * (1 - z * z / w / 12)


@pytest.mark.parametrize(("df", "closed"), [(1, one), (2, two), (3, three), (4, four)])
@pytest.mark.parametrize("z", [-20.0, -2.5, -0.3, 0.0, 1e-6, 0.7, 1.9, 6.0, 30.0])
def test_the_tail_has_its_closed_value(df: int, closed: Callable[[float], float], z: float) -> None:
    assert upper_tail(z, df) == pytest.approx(closed(z), abs=1e-12)


def test_far_out_the_tail_keeps_its_digits() -> None:
    assert upper_tail(1e5, 2) == pytest.approx(two(1e5), rel=1e-12)


@pytest.mark.parametrize(
    ("p", "df", "z"),
    [
        # Printed tables, exact to half of their last digit.
        (0.05, 10, 1.812),
        (0.025, 30, 2.042),
        (0.001, 7, 4.785),
        (0.01, 100, 2.364),
    ],
)
def test_tabulated_quantiles(p: float, df: int, z: float) -> None:
    assert upper_tail(z, df) == pytest.approx(p, abs=5e-4 * density(z, df))


@pytest.mark.parametrize("df", [2.6, 7.5, 33.3, 601.0])
def test_the_tail_is_the_integral_of_the_density(df: float) -> None:
    low, high, steps = 0.4, 2.9, 2000
    width = (high - low) / steps
    weights = [1.0, *([4.0, 2.0] * (steps // 2))[:-1], 1.0]
    simpson = sum(w * density(low + i * width, df) for i, w in enumerate(weights)) * width / 3
    assert upper_tail(low, df) - upper_tail(high, df) == pytest.approx(simpson, abs=1e-11)


def test_many_degrees_of_freedom_are_gaussian() -> None:
    for z in (-1.0, 0.5, 2.0):
        assert upper_tail(z, 1e5) == pytest.approx(math.erfc(z / math.sqrt(2)) / 2, abs=1e-5)


def test_the_incomplete_beta_of_whole_numbers_is_a_binomial_tail() -> None:
    x = 0.3
    exact = sum(math.comb(6, j) * x**j * (1 - x) ** (6 - j) for j in range(3, 7))
    assert incomplete_beta(3, 4, x, 1 - x) == pytest.approx(exact, abs=1e-14)
    assert incomplete_beta(4, 3, 1 - x, x) == pytest.approx(1 - exact, abs=1e-14)
    assert (incomplete_beta(3, 4, 0.0, 1.0), incomplete_beta(3, 4, 1.0, 0.0)) == (0.0, 1.0)


def test_what_does_not_converge_is_an_error() -> None:
    with pytest.raises(ArithmeticError, match="does not converge"):
        incomplete_beta(1e9, 1e9, 0.5, 0.5)
