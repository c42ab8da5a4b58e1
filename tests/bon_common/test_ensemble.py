from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.ensemble import Combine, combine


@pytest.mark.parametrize(
    ("how", "penalty", "expected"),
    [("mean", 1.0, 1.0), ("min", 1.0, -1.0), ("mean_minus_variance", 0.5, -1.0)],
)
def test_the_members_become_one_number(how: Combine, penalty: float, expected: float) -> None:
    assert combine((3.0, -1.0), how, penalty) == pytest.approx(expected)
    assert combine((1.5, 1.5), how, penalty) == pytest.approx(1.5)


def test_weights_closed_values() -> None:
    values, weights = (3.0, -1.0), (3.0, 1.0)
    assert combine(values, "mean", weights=weights) == pytest.approx(2.0, abs=1e-9)
    # The weighted variance is (3 x 1 + 1 x 9) / 4.
    joint = combine(values, "mean_minus_variance", 0.5, weights)
    assert joint == pytest.approx(0.5, abs=1e-9)


Z = st.floats(-1e3, 1e3)
MEMBERS = st.lists(st.tuples(Z, st.integers(1, 4)), min_size=1, max_size=5)


@given(MEMBERS, st.floats(0.01, 100))
def test_only_the_ratio_of_weights_matters(members: list[tuple[float, int]], factor: float) -> None:
    values = [value for value, _ in members]
    weights = [float(weight) for _, weight in members]
    repeated = [value for value, weight in members for _ in range(weight)]
    for how in get_args(Combine):
        joint = combine(values, how, 0.5, weights)
        scaled = combine(values, how, 0.5, [factor * weight for weight in weights])
        assert joint == pytest.approx(scaled, rel=1e-9, abs=1e-9)
        assert joint == pytest.approx(combine(repeated, how, 0.5), rel=1e-9, abs=1e-9)


@given(MEMBERS, st.floats(0, 10))
def test_distrust_never_rewards(members: list[tuple[float, int]], penalty: float) -> None:
    values, weights = [value for value, _ in members], [float(weight) for _, weight in members]
    mean = combine(values, "mean", weights=weights)
    assert combine(values, "min") <= mean + 1e-9
    assert combine(values, "mean_minus_variance", penalty, weights) <= mean


@given(st.lists(Z, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_members_does_not_matter(values: list[float], random: Any) -> None:
    turned = random.sample(values, len(values))
    for how in get_args(Combine):
        assert combine(turned, how) == pytest.approx(combine(values, how), rel=1e-9, abs=1e-9)
