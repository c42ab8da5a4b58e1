"""What is promised of accepted answers holds, over many calibrations."""

from __future__ import annotations

import math
import random

import pytest

from bon_common.selection.adaptive.waves import Waves
from bon_gateway.calibrate.figures.guarantees import Demand, good_from, guarantee
from bon_gateway.calibrate.pools import CalibrationPrompts, JudgedPool

TRIALS = 100
DEMAND = Demand(good=1.0, risk=0.25, confidence=0.9)


def pool_of(rewards: list[float], golds: list[float]) -> JudgedPool:
    count = len(rewards)
    return JudgedPool(
        rewards=rewards,
        golds=golds,
        tokens=[1] * count,
        finished=[True] * count,
        ranks=rewards,
        characters=[1] * count,
        texts=["a"] * count,
        answers=None,
        partials=[{}] * count,
    )


def prompts_of(pools: list[JudgedPool]) -> CalibrationPrompts:
    count = len(pools)
    halves = [place % 2 for place in range(count)]
    return CalibrationPrompts([[one] for one in pools], halves, halves, True, {}, count)


def drawn(rng: random.Random, count: int) -> CalibrationPrompts:
    """One candidate each. Gold is 1 with the chance that the uniform reward says, so that accepting
    from t on has the risk (1 - t) / 2: at most 0.25 from t = 0.5 on."""
    rewards = [rng.random() for _ in range(count)]
    return prompts_of([pool_of([r], [float(rng.random() < r)]) for r in rewards])


def test_the_risk_is_kept_in_as_many_calibrations_as_promised() -> None:
    rng = random.Random(11)
    broken = found = 0
    for _ in range(TRIALS):
        made = guarantee("t", drawn(rng, 300), Waves(1, 1, 1), DEMAND)
        found += made.threshold is not None
        broken += made.threshold is not None and made.threshold < 0.5
    # A tenth may break it; beyond this share one in 10,000 such tests would be wrong.
    assert broken / TRIALS <= 0.1 + 3.72 * math.sqrt(0.1 * 0.9 / TRIALS)
    assert found / TRIALS > 0.5


def test_the_half_that_tests_decides_nothing_before() -> None:
    """Gold in the testing half is bad: nothing passes, however good the other half is."""
    good, bad = pool_of([1.0], [1.0]), pool_of([1.0], [0.0])
    made = guarantee("t", prompts_of([good, bad] * 60), Waves(1, 1, 1), DEMAND)
    assert made.threshold is None
    assert (made.tested, made.accepted, made.bad) == (60, 60, 60)
    passed = guarantee("t", prompts_of([bad, good] * 60), Waves(1, 1, 1), DEMAND)
    assert passed.threshold == 1
    assert passed.bound == pytest.approx(1 - 0.1 ** (1 / 60), abs=1e-9)


def test_the_lowest_that_passes_is_taken() -> None:
    levels = [pool_of([level], [float(level > 2)]) for level in (1.0, 2.0, 3.0, 4.0)]
    pools = [pool for pool in levels for _ in range(2)] * 30
    made = guarantee("t", prompts_of(pools), Waves(1, 1, 1), DEMAND)
    assert made.threshold == 3
    assert (made.accepted, made.bad) == (60, 0)


def test_what_is_good_is_the_larger_of_two() -> None:
    two = prompts_of([pool_of([1.0, 2.0], [0.25, 0.75])] * 2)
    assert good_from(two, None) == 0.75
    assert good_from(two, 0.5) == 0.5
    assert good_from(prompts_of([pool_of([1.0, 2.0, 3.0], [0.0, 0.5, 1.0])] * 2), None) is None
