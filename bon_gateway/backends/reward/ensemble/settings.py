"""Several rewards joined to one: an ensemble against hacking, signals of different kinds, or
dimensions with weights.

All members get the answers at the same time. Each member's rewards are first standardised by its
own mean and standard deviation, because reward models differ in zero point and scale. An answer
that fools one reward model rarely fools one with another training. So the lowest of their rewards,
or their mean less their deviation, distrusts answers about which they disagree (Coste et al. 2023,
arXiv:2310.02743).

A member that fails at a request's first answers gets one more call. Then the whole request does
without it, because candidates with differently joined rewards do not compare. The same happens to a
judge without a verdict on any of these answers, and to a reward model that refuses the
conversation. The response says so (`rewards_left_out`) and names the member. Answers that a member
refuses, or cannot score later, have no joint reward. With `on_missing: fail` no answer has a reward
while a member is down. All members read the same conversation: the strictest `non_text_parts` among
them decides about parts that are not text.

If `mean` and `std` of a member are not set, each worker learns them from its newest 4096 rewards,
the first ones of the request included; they stay the same until the request ends. Each worker
learns alone and begins anew after a restart, so equal answers to different requests get slightly
different rewards. Set both for a strategy that compares rewards with a fixed number, such as
`good_enough`, and if rewards must be equal everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bon_gateway.backends.reward.ensemble.backend import EnsembleMember, RewardEnsemble
from bon_gateway.backends.reward.ensemble.members import (
    HowJoined,
    Joining,
    OnMissing,
    Penalty,
    RewardMemberSettings,
    Tolerance,
    check_over,
)
from bon_gateway.backends.settings import ComposedRewardSettings, RewardSettings
from bon_gateway.protocols import RewardBackend


class RewardEnsembleSettings(ComposedRewardSettings):
    """Other rewards, asked together. A joint reward is in standard deviations."""

    type: Literal["ensemble"]
    members: Annotated[tuple[RewardMemberSettings, ...], Field(min_length=1)]
    """The rewards to join."""
    combine: Joining = "mean"
    """How the members' standardised rewards become one: their weighted mean, the lowest, the mean
    less ``penalty`` times the standard deviation or the variance, or the order of the list. ``min``
    and the two with a penalty distrust answers about which the members disagree; the variance
    forgives small disagreement. With ``lexicographic`` the first member decides; a later one
    decides only between answers that all members before it put on the same step (``tolerance``)."""
    penalty: Penalty = 1.0
    """Weight of the standard deviation with ``combine: mean_minus_sd``, or of the variance with
    ``mean_minus_variance``."""
    tolerance: Tolerance = 0.25
    """Width of a step in standard deviations, with ``combine: lexicographic``. Rewards on the same
    step count as equal, and so do all rewards beyond 8 standard deviations from the mean."""
    on_missing: OnMissing = "leave_out"
    """What to do if a member is down: choose by the others and say so, or count all rewards as
    lost. Set ``fail`` if every winner needs a member's reward, such as a safety model's."""

    @model_validator(mode="after")
    def _can_be_joined(self) -> Self:
        self.how_joined.check(self.members, "members")
        return self

    @property
    def how_joined(self) -> HowJoined:
        return HowJoined(self.combine, self.penalty, self.tolerance)

    def check_over(self, rewards: Mapping[str, RewardSettings]) -> None:
        check_over(self.members, rewards, "members")

    def members_over(self, rewards: Mapping[str, RewardSettings]) -> Mapping[str, RewardSettings]:
        return {member.reward: rewards[member.reward] for member in self.members}

    def compares_over(self, rewards: Mapping[str, RewardSettings]) -> bool:
        return any(one.compares for one in self.members_over(rewards).values())

    @property
    def labels_read(self) -> Mapping[str, Sequence[str]]:
        found: dict[str, list[str]] = {}
        for member in self.members:
            if member.label is not None:
                found.setdefault(member.reward, []).append(member.label)
        return found

    def compose(self, rewards: Mapping[str, RewardBackend]) -> RewardEnsemble:
        members = [EnsembleMember(one, rewards[one.reward]) for one in self.members]
        return RewardEnsemble(self.how_joined, self.on_missing, members)
