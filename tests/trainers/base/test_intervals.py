from __future__ import annotations

import random
from statistics import fmean, stdev

import pytest

from trainers.base.intervals import bootstrap, wilson


@pytest.mark.parametrize(
    ("share", "count", "low", "high"),
    # By Newcombe 1998, table I, method 3 (score interval without continuity correction).
    [(81 / 263, 263, 0.2553, 0.3662), (15 / 148, 148, 0.0624, 0.1605), (0 / 20, 20, 0, 0.1611),
     (1 / 29, 29, 0.0061, 0.1718)],
)  # fmt: skip
def test_wilson_as_published(share: float, count: int, low: float, high: float) -> None:
    assert wilson(share, count) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("count", range(1, 200))
def test_the_share_is_within_its_interval(count: int) -> None:
    for share in (0.0, 1.0):
        low, high = wilson(share, count)
        assert 0.0 <= low <= share <= high <= 1.0


def test_a_share_of_nothing_has_none() -> None:
    with pytest.raises(ValueError, match="at least one"):
        wilson(0.5, 0)


def test_the_bootstrap_is_near_the_normal_interval() -> None:
    rng = random.Random(1)
    values = [rng.gauss(3, 2) for _ in range(400)]
    half = 1.96 * stdev(values) / 20
    low, high = bootstrap(values)
    assert low == pytest.approx(fmean(values) - half, abs=0.05)
    assert high == pytest.approx(fmean(values) + half, abs=0.05)
    assert bootstrap(values) == (low, high)


def test_one_value_has_no_width() -> None:
    assert bootstrap([2.5]) == (2.5, 2.5)
