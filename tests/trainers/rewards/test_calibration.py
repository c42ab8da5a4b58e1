from __future__ import annotations

import math
import random

import pytest

from trainers.rewards.calibration import Calibration


def logit(claim: float) -> float:
    return math.log(claim / (1 - claim))


def test_known_shares() -> None:
    """Claims of .65 right in 6 of 10, claims of .85 right in 5 of 10."""
    sure, unsure = logit(0.85), logit(0.65)
    differences = [unsure] * 6 + [-unsure] * 4 + [sure] * 5 + [-sure] * 5
    found = Calibration.of(differences, bins=5)
    assert [one.pairs for one in found.bins] == [10, 10]
    assert [one.predicted for one in found.bins] == pytest.approx([0.65, 0.85])
    assert [one.observed for one in found.bins] == pytest.approx([0.6, 0.5])
    assert found.ece == pytest.approx((0.05 + 0.35) / 2)
    assert [one.low for one in found.bins] == pytest.approx([0.6, 0.8])


def test_labels_drawn_from_the_claims_are_calibrated() -> None:
    rng = random.Random(4)
    differences = []
    for _ in range(40_000):
        gap = abs(rng.gauss(0, 2))
        differences.append(gap if rng.random() < 1 / (1 + math.exp(-gap)) else -gap)
    assert Calibration.of(differences, bins=10).ece < 0.012
    boastful = [3 * difference for difference in differences]
    assert Calibration.of(boastful, bins=10).ece > 0.08


def test_the_side_that_stands_first_says_nothing() -> None:
    found = Calibration.of([0.0, 0.0], bins=10)
    assert (found.bins[0].observed, found.ece) == (0.5, 0.0)
    with pytest.raises(ValueError, match="at least one"):
        Calibration.of([], bins=10)


def test_a_huge_difference_stays_in_the_last_bin() -> None:
    found = Calibration.of([800.0, -800.0], bins=10)
    (one,) = found.bins
    assert (one.low, one.predicted, one.observed) == pytest.approx((0.95, 1.0, 0.5))
