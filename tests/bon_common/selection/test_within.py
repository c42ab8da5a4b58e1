from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.within import WithinSums

Prompts = list[list[tuple[float, float]]]
PROMPTS = st.lists(
    st.lists(st.tuples(st.floats(-10, 10), st.integers(0, 4000).map(float)), max_size=8),
    max_size=5,
)


def test_closed_values() -> None:
    # Within prompts: (-1, -1), (1, 1) and (-3, -1), (3, 1).
    found = WithinSums.of([[(0.0, 1.0), (2.0, 3.0)], [(-9.0, 5.0), (-3.0, 7.0)]])
    assert found == WithinSums(product=8.0, first=20.0, second=4.0)
    assert found.slope == pytest.approx(2, abs=1e-9)
    assert found.correlation == pytest.approx(8 / math.sqrt(80), abs=1e-9)


def test_what_differs_between_prompts_does_not_count() -> None:
    found = WithinSums.of([[(9.0, 1.0), (9.5, 2.0)], [(0.0, 101.0), (0.5, 102.0)]])
    assert found.slope == pytest.approx(0.5, abs=1e-9)
    assert found.correlation == pytest.approx(1, abs=1e-9)


def test_within_one_prompt_it_is_the_usual_correlation_and_slope() -> None:
    pairs = [(1.0, 4.0), (2.5, 3.0), (-1.0, 8.0), (0.0, 0.5)]
    first, second = [x for x, _ in pairs], [y for _, y in pairs]
    found = WithinSums.of([pairs])
    assert found.correlation == pytest.approx(statistics.correlation(first, second), abs=1e-9)
    slope = statistics.linear_regression(second, first).slope
    assert found.slope == pytest.approx(slope, abs=1e-9)


@pytest.mark.parametrize("prompts", [[], [[]], [[(5.0, 1.0)]], [[(1.0, 7.0), (2.0, 7.0)]]])
def test_where_the_second_never_varies_nothing_is_known(prompts: Prompts) -> None:
    found = WithinSums.of(prompts)
    assert (found.slope, found.correlation) == (None, None)


def test_where_the_first_never_varies_the_slope_is_0() -> None:
    found = WithinSums.of([[(2.0, 1.0), (2.0, 5.0)]])
    assert (found.slope, found.correlation) == (0.0, None)


def test_sums_that_are_tiny_still_correlate() -> None:
    found = WithinSums.of([[(0.0, 0.0), (1e-150, 1e-150)]])
    assert found.correlation == pytest.approx(1, abs=1e-9)


@given(PROMPTS, st.floats(-1, 1))
def test_an_injected_slope_is_added(prompts: Prompts, slope: float) -> None:
    before = WithinSums.of(prompts).slope
    after = WithinSums.of([[(x + slope * y, y) for x, y in own] for own in prompts]).slope
    if before is None:
        assert after is None
    else:
        assert after == pytest.approx(before + slope, abs=1e-6)


@given(PROMPTS)
def test_a_correlation_is_between_minus_1_and_1(prompts: Prompts) -> None:
    found = WithinSums.of(prompts).correlation
    assert found is None or -1 <= found <= 1
