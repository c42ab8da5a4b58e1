from __future__ import annotations

import math

import pytest

from bon_common.selection.adaptive.prior import PromptRewards
from bon_common.selection.pruning.believed import rewards_with
from bon_common.selection.pruning.chance import Belief


def test_without_beliefs_it_is_what_is_known() -> None:
    assert rewards_with([1.0, 2.0, 6.0], []) == PromptRewards.of([1.0, 2.0, 6.0])


def test_a_belief_counts_with_its_mean_and_its_variance() -> None:
    found = rewards_with([1.0, 3.0], [Belief(5.0, 2.0), Belief(-1.0, 0.5)])
    assert found.count == 4
    assert found.mean == pytest.approx(2.0, abs=1e-9)
    assert found.squares == pytest.approx(1 + 1 + 9 + 9 + 4 + 0.25, abs=1e-9)


def test_one_known_reward_is_enough_and_none_too_with_a_belief() -> None:
    assert rewards_with([1.0], []).count == 1
    assert rewards_with([], [Belief(1.0, 1.0)]).count == 1
    with pytest.raises(ValueError, match="at least one"):
        rewards_with([], [])
    with pytest.raises(ValueError, match="finite"):
        rewards_with([math.nan], [Belief(1.0, 1.0)])
