from __future__ import annotations

from bon_common.selection.spread import RewardSpread
from bon_gateway.backends.reward.recent import SHARE, WINDOW, RecentRewards


def test_the_first_rewards_count_at_once() -> None:
    recent = RecentRewards()
    assert recent.spread is None
    recent.add([1.0])
    assert recent.spread == RewardSpread(1.0, 1.0)
    recent.add([3.0])
    assert recent.spread == RewardSpread(2.0, 1.0)


def test_only_the_newest_are_remembered() -> None:
    recent = RecentRewards()
    recent.add([1e6] * 50)
    assert recent.spread == RewardSpread(1e6, 1.0)
    recent.add([0.0, 2.0] * (WINDOW // 2))
    assert recent.spread == RewardSpread(1.0, 1.0)


def test_a_few_among_many_change_nothing_yet() -> None:
    recent = RecentRewards()
    recent.add([0.0, 2.0] * (WINDOW // 2))
    before = recent.spread
    recent.add([1e9] * (WINDOW // SHARE - 1))
    assert recent.spread is before
    recent.add([1e9])
    after = recent.spread
    assert after is not None
    assert after.mean > 1e6
