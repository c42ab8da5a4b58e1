"""Recorded rewards joined to one, as an ensemble joins them when it serves.

So a replay shows what another combination would have chosen, without calls to a reward model. Each
member is standardised by its ``mean`` and ``std``, or by all its recorded rewards.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import msgspec

from bon_common.selection.spread import RewardSpread
from bon_common.settings.errors import SettingsError
from bon_gateway.backends.reward.ensemble.members import HowJoined, RewardMemberSettings
from bon_gateway.replay.log import RecordedCandidate
from bon_gateway.replay.pools import PoolSet, PromptPool


def recorded_reward(one: RecordedCandidate, name: str, served: str | None) -> float | None:
    """The recorded number of this reward. The candidate's ``reward`` comes from the one that
    served."""
    return one.rewards.get(name, one.reward if name == served else None)


def with_joint_rewards(
    pools: PoolSet, members: Sequence[RewardMemberSettings], how: HowJoined
) -> PoolSet:
    """The same candidates with the joint reward as their own, if they have all members' rewards;
    the others get none. Partial rewards are dropped: they belong to the reward that served.

    Raises SettingsError for a reward that no candidate has.
    """
    served = pools.source.reward
    spreads = []
    for place, member in enumerate(members):
        known = known_of(pools, member.name)
        if not known:
            names = sorted({name for pool in pools.pools for one in pool.candidates
                            for name in one.rewards} | ({served} if served else set()))  # fmt: skip
            raise SettingsError(
                "settings", f"rewards.{place}", f"no candidate has a reward {member.name!r}; known:"
                f" {', '.join(names) or 'none'}",
            )  # fmt: skip
        spreads.append(member.spread or RewardSpread.of(known))
    join = how.rule([member.weight for member in members])

    def joint(one: RecordedCandidate) -> RecordedCandidate:
        raw = [recorded_reward(one, member.name, served) for member in members]
        given = [reward for reward in raw if reward is not None]
        found = None
        if len(given) == len(members):
            pairs = zip(spreads, given, strict=True)
            found = join([spread.standardised(reward) for spread, reward in pairs])
        return msgspec.structs.replace(one, reward=found, partial_rewards=())

    def of_pool(pool: PromptPool) -> PromptPool:
        return dataclasses.replace(pool, candidates=[joint(one) for one in pool.candidates])

    return dataclasses.replace(pools, pools=[of_pool(pool) for pool in pools.pools])


def known_of(pools: PoolSet, name: str) -> list[float]:
    """All recorded rewards of this name, of candidates that might win."""
    served = pools.source.reward
    found = [recorded_reward(one, name, served) for pool in pools.pools for one in pool.usable]
    return [reward for reward in found if reward is not None]
