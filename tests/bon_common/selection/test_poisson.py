"""Best-of-Poisson's number of candidates."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.poisson import poisson_chances, poisson_count

EXACT = 1e-9
mus = st.floats(0.01, 200)
caps = st.integers(1, 60)
uniforms = st.floats(0, 1, exclude_max=True)


def test_closed_values() -> None:
    e = math.exp(-2)
    assert poisson_chances(2, 4) == pytest.approx([e, 2 * e, 2 * e, 1 - 5 * e], abs=EXACT)
    assert poisson_chances(7, 1) == [1]
    # Where nothing is cut, 1 + mu candidates are drawn on average.
    for mu in (0.5, 7.0):
        average = sum(n * chance for n, chance in enumerate(poisson_chances(mu, 60), start=1))
        assert average == pytest.approx(1 + mu, abs=EXACT)


def test_a_large_mu_does_not_underflow() -> None:
    chances = poisson_chances(5000, 5001)
    assert math.fsum(chances) == pytest.approx(1, abs=EXACT)
    assert chances[-1] == pytest.approx(0.5, abs=0.01)


@given(mus, caps)
def test_they_are_chances(mu: float, cap: int) -> None:
    chances = poisson_chances(mu, cap)
    assert len(chances) == cap
    assert min(chances) >= 0
    assert math.fsum(chances) == pytest.approx(1, abs=EXACT)


@pytest.mark.parametrize(("mu", "cap"), [(0.5, 5), (2.0, 4), (7.0, 16)])
def test_each_number_comes_as_often_as_its_chance(mu: float, cap: int) -> None:
    steps = 20_000
    counts = [0] * cap
    for step in range(steps):
        counts[poisson_count(mu, cap, (step + 0.5) / steps) - 1] += 1
    for count, chance in zip(counts, poisson_chances(mu, cap), strict=True):
        assert count / steps == pytest.approx(chance, abs=1.5 / steps)


@given(mus, caps, uniforms, uniforms)
def test_a_larger_draw_is_a_larger_number(mu: float, cap: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 1 <= poisson_count(mu, cap, low) <= poisson_count(mu, cap, high) <= cap


@pytest.mark.parametrize(
    ("mu", "cap", "reason"),
    [(0, 4, "mu"), (-1, 4, "mu"), (math.inf, 4, "mu"), (math.nan, 4, "mu"), (1, 0, "cap")],
)
def test_what_is_refused(mu: float, cap: int, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        poisson_count(mu, cap, 0.5)
