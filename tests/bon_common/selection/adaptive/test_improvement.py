from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.adaptive.improvement import expected_improvement
from bon_common.selection.adaptive.prior import Predictive


@pytest.mark.parametrize("z", [-4.0, -0.5, 0.0, 0.8, 3.0, 40.0])
def test_with_two_degrees_of_freedom_it_has_a_closed_value(z: float) -> None:
    """The tail (1 - z / sqrt(2 + z^2)) / 2 has the integral (sqrt(2 + z^2) - z) / 2."""
    exact = 1 / (math.sqrt(2 + z * z) + z)
    found = expected_improvement(5 + 3 * z, Predictive(df=2, location=5, scale=3))
    assert found == pytest.approx(3 * exact, abs=1e-12)


def test_with_many_it_is_the_gaussian_one() -> None:
    z = 0.6
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    exact = density - z * math.erfc(z / math.sqrt(2)) / 2
    assert expected_improvement(z, Predictive(1e5, 0, 1)) == pytest.approx(exact, abs=1e-5)


@given(st.floats(1.1, 600), st.floats(-30, 30))
def test_what_is_gained_above_and_below_differs_by_the_distance(df: float, z: float) -> None:
    """E[max(X - z, 0)] - E[max(z - X, 0)] = E[X] - z, and both sides mirror each other."""
    gain = expected_improvement(z, Predictive(df, 0, 1))
    loss = expected_improvement(-z, Predictive(df, 0, 1))
    assert gain - loss == pytest.approx(-z, abs=1e-9)
    assert gain >= 0


def test_a_better_best_leaves_less_to_gain() -> None:
    gains = [expected_improvement(best, Predictive(5, 0, 1)) for best in (-2, -1, 0, 1, 2, 3)]
    assert gains == sorted(gains, reverse=True)


def test_an_infinite_expectation_is_an_error() -> None:
    with pytest.raises(ValueError, match="above 1"):
        expected_improvement(0.0, Predictive(1.0, 0, 1))
