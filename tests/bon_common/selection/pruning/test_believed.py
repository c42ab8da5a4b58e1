from __future__ import annotations

import math
import random
from statistics import fmean, pvariance

import pytest

from bon_common.selection.pruning.believed import stand_ins
from bon_common.selection.pruning.chance import Belief


def test_without_beliefs_there_are_none() -> None:
    assert stand_ins([], 1.0) == []


def test_they_lie_a_deviation_below_and_above_in_turns() -> None:
    beliefs = [Belief(5.0, 2.0), Belief(-1.0, 0.5), Belief(2.0, 0.25)]
    assert sorted(stand_ins(beliefs, 100.0)) == pytest.approx([-1.5, 2.25, 3.0], abs=1e-9)
    assert stand_ins(beliefs[::-1], 100.0) == stand_ins(beliefs, 100.0)


def test_none_is_above_the_best() -> None:
    beliefs = [Belief(0.0, 1.0), Belief(1.5, 1.0), Belief(3.0, 0.1), Belief(4.0, 9.0)]
    assert sorted(stand_ins(beliefs, 2.0)) == [-1.0, 1.5, 2.0, 2.0]


def test_they_vary_as_the_rewards_do() -> None:
    source = random.Random(3)
    beliefs = [Belief(source.gauss(0, 1), 0.7) for _ in range(4000)]
    found = stand_ins(beliefs, 100.0)
    assert fmean(found) == pytest.approx(fmean(belief.mean for belief in beliefs), abs=1e-9)
    # Of Gaussian means with variance 1, of the deviation .49.
    assert pvariance(found) == pytest.approx(1.49, rel=0.03)


def test_what_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="best reward is not finite"):
        stand_ins([], math.nan)
    with pytest.raises(ValueError, match="belief is not finite"):
        stand_ins([Belief(math.inf, 1.0)], 1.0)
