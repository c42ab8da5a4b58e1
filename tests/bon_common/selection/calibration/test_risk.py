"""Bounds on the risk: closed values, and coverage by simulation with fixed seeds."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.calibration.risk import at_most, certified, risk_bound

TRIALS = 600


@given(st.integers(1, 40), st.floats(0.01, 0.99), st.data())
def test_the_chance_is_the_binomial_sum(count: int, risk: float, data: st.DataObject) -> None:
    bad = data.draw(st.integers(0, count))
    wanted = math.fsum(
        math.comb(count, k) * risk**k * (1 - risk) ** (count - k) for k in range(bad + 1)
    )
    assert at_most(bad, count, risk) == pytest.approx(wanted, abs=1e-11)


def test_closed_bounds() -> None:
    # No bad one among n: (1 - risk)^n = 0.05. All but one bad: 1 - risk^n = 0.05.
    assert risk_bound(0, 10, 0.95) == pytest.approx(1 - 0.05 ** (1 / 10), abs=1e-9)
    assert risk_bound(9, 10, 0.95) == pytest.approx(0.95 ** (1 / 10), abs=1e-9)
    assert risk_bound(0, 1, 0.9) == pytest.approx(0.9, abs=1e-9)
    assert risk_bound(3, 3, 0.95) == 1
    assert risk_bound(0, 0, 0.95) == 1


def test_a_bound_for_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="bad must be within 0 to 3, got 4"):
        risk_bound(4, 3, 0.9)


def test_the_first_failure_ends_the_sequence() -> None:
    good, poor = (100, 0), (100, 50)
    assert certified([good, good, poor, good], 0.1, 0.95) == 2
    assert certified([poor, good], 0.1, 0.95) == 0
    assert certified([], 0.1, 0.95) == 0
    # 28 answers without a bad one allow 10.1 %, 29 allow 9.8 %.
    assert certified([(28, 0)], 0.1, 0.95) == 0
    assert certified([(29, 0)], 0.1, 0.95) == 1


def share_of_trials(chosen_too_risky: int) -> tuple[float, float]:
    """The share, and the largest that a true share of 10 % gives with a chance of one in 10,000."""
    return chosen_too_risky / TRIALS, 0.1 + 3.72 * math.sqrt(0.1 * 0.9 / TRIALS)


def test_the_guarantee_holds_over_many_calibrations() -> None:
    """Rewards are uniform and an answer is bad with the chance (1 - reward) / 2, so that accepting
    from threshold t on has the risk (1 - t) / 4: at most 0.1 from t = 0.6 on."""
    rng = random.Random(5)
    thresholds = [0.85, 0.75, 0.65, 0.6, 0.55, 0.5, 0.3]
    risky = found = 0
    for _ in range(TRIALS):
        answers = [(reward, rng.random() < (1 - reward) / 2) for reward in drawn(rng, 800)]
        outcomes = [
            (
                sum(reward >= threshold for reward, _ in answers),
                sum(bad for reward, bad in answers if reward >= threshold),
            )
            for threshold in thresholds
        ]
        passed = certified(outcomes, 0.1, 0.9)
        found += passed > 0
        risky += passed > 0 and thresholds[passed - 1] < 0.6
    share, most = share_of_trials(risky)
    assert share <= most
    # It is not empty caution: most calibrations find a threshold.
    assert found / TRIALS > 0.8


def drawn(rng: random.Random, count: int) -> list[float]:
    return [rng.random() for _ in range(count)]


def test_the_bound_covers_at_its_own_risk() -> None:
    """At the very risk that is bounded, with as few trials as make the bound's steps coarse."""
    rng = random.Random(9)
    below = 0
    for _ in range(TRIALS):
        bad = sum(rng.random() < 0.2 for _ in range(60))
        below += risk_bound(bad, 60, 0.9) < 0.2
    share, most = share_of_trials(below)
    assert 0.03 < share <= most
