"""The parameter at which gold is highest: HedgeTune's toy, and slopes against differences."""

from __future__ import annotations

import math
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.calibration.hedge import (
    hedge_root,
    poisson_slope,
    soft_chances,
    soft_slope,
)
from bon_common.selection.poisson import poisson_chances

STEP = 1e-6


def toy_moment(n: float) -> float:
    """E[r psi] with r = u^12 (1 - u), psi = 1/n + ln u and the winner's density n u^(n-1), where
    E[u^k] = n / (n + k) and E[u^k ln u] = -n / (n + k)^2."""

    def of_power(k: int) -> float:
        return (n / (n + k)) / n - n / (n + k) ** 2

    return of_power(12) - of_power(13)


def toy_gold(n: float) -> float:
    return n / (n + 12) - n / (n + 13)


def test_the_toy_of_hedgetune() -> None:
    best = hedge_root(toy_moment, 1.0, 64.0)
    assert best == pytest.approx(math.sqrt(156), abs=1e-9)
    assert toy_gold(12) == pytest.approx(toy_gold(13), abs=1e-15)
    assert toy_gold(64) / toy_gold(12) == pytest.approx(0.55, abs=0.005)


def test_a_root_that_is_not_between() -> None:
    with pytest.raises(ValueError, match="does not fall through 0 between 20 and 64"):
        hedge_root(toy_moment, 20, 64)
    with pytest.raises(ValueError, match="does not fall through 0"):
        hedge_root(lambda x: x, -1, 1)


def test_a_root_at_an_end_and_one_that_need_not_be_exact() -> None:
    assert hedge_root(lambda x: -x, 0.0, 4.0) == pytest.approx(0.0, abs=1e-50)
    assert hedge_root(lambda x: 1 - x, 0.0, 8.0, precision=0.25) == pytest.approx(1.0, abs=2)


REWARDS = [0.0, 1.5, -0.5, 3.0]
GOLDS = [-1.0, 2.0, -1.0, 0.0]


def soft_gold(temperature: float) -> float:
    return math.fsum(
        p * gold for p, gold in zip(soft_chances(REWARDS, temperature), GOLDS, strict=True)
    )


def test_soft_chances_are_closed() -> None:
    assert soft_chances([0.0, math.log(3)], 1.0) == pytest.approx([0.25, 0.75], abs=1e-15)
    assert soft_chances([5.0, 5.0], 1e-9) == [0.5, 0.5]


@pytest.mark.parametrize("temperature", [0.3, 1.0, 7.0])
def test_the_slope_of_soft_is_that_in_the_logarithm(temperature: float) -> None:
    low, high = temperature * math.exp(-STEP), temperature * math.exp(STEP)
    slope = (soft_gold(high) - soft_gold(low)) / (2 * STEP)
    assert soft_slope(REWARDS, GOLDS, temperature) == pytest.approx(slope, abs=1e-7)


def test_the_root_of_soft_is_its_best_temperature() -> None:
    """The reward's favourite is bad, and the next one good."""
    found = hedge_root(partial(soft_slope, REWARDS, GOLDS), 0.05, 50.0)
    assert soft_gold(found) > max(soft_gold(found * factor) for factor in (0.5, 0.99, 1.01, 2.0))


@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=12),
    st.floats(0.05, 20),
)
def test_the_slope_of_poisson(curve: list[float], mu: float) -> None:
    def gold(value: float) -> float:
        return math.fsum(map(float.__mul__, poisson_chances(value, len(curve)), curve))

    step = 1e-5 * mu
    slope = (gold(mu + step) - gold(mu - step)) / (2 * step)
    assert poisson_slope(curve, mu) == pytest.approx(slope, abs=1e-6)
