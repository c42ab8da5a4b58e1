from __future__ import annotations

from math import exp, log

import pytest

from trainers.demo.quality import calibration, calibration_error
from trainers.rewards.accuracy import ScoredPair


def logit(p: float) -> float:
    return log(p / (1 - p))


def test_a_model_that_knows_the_gold_gap_is_calibrated() -> None:
    pairs = [ScoredPair(gap, 0.0, gap) for gap in (0.1, 0.7, 1.3, 2.9)]
    rows = calibration(pairs)
    assert all(row["predicted"] == pytest.approx(row["true"]) for row in rows)
    assert calibration_error(rows) == pytest.approx(0.0)
    assert sum(row["pairs"] for row in rows) == 8


def test_a_model_that_exaggerates_is_not() -> None:
    rows = calibration([ScoredPair(logit(0.95), 0.0, logit(0.75))])
    assert rows == [
        {"predicted": pytest.approx(0.05), "true": pytest.approx(0.25), "pairs": 1},
        {"predicted": pytest.approx(0.95), "true": pytest.approx(0.75), "pairs": 1},
    ]
    assert calibration_error(rows) == pytest.approx(0.2)


def test_extreme_rewards_are_no_overflow() -> None:
    (low, high) = calibration([ScoredPair(900.0, -900.0, 1.0)])
    assert (low["predicted"], high["predicted"]) == (0.0, 1.0)
    assert high["true"] == pytest.approx(1 / (1 + exp(-1)))
