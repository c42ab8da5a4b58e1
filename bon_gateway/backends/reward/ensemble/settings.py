"""Several rewards joined to one: an ensemble against hacking, signals of different kinds, or
dimensions with weights.

All members are asked at the same time. Each one's rewards are standardised by its own mean and
standard deviation first, because reward models differ in zero point and scale. Where a reward model
can be fooled, others of another training are fooled by other answers; the lowest of their rewards,
or their mean less their deviation, trusts no answer about which they disagree (Coste et al. 2023,
arXiv:2310.02743).

A member that fails at a request's first answers is asked once more, and then left out for the
whole request, because candidates whose rewards are joined differently do not compare. So is a judge
that gives none of these answers a verdict, and a reward model that refuses the conversation. The
answer says so (`rewards_left_out`) and names it. Answers that a member refuses, or cannot score
later, have no joint reward. With `on_missing: fail` a member that is down costs all rewards. All
members read the same conversation: the strictest `non_text_parts` among them decides about parts
that are not text.

Where `mean` and `std` of a member are not set, they are those of its newest 4096 rewards that
this worker has seen, the first ones of the request included, and stay the same until the request
ends. Workers learn apart and begin anew after a restart, so equal answers to different requests get
slightly different rewards. Set both for a strategy that compares rewards with a fixed number, such
as `good_enough`, and for rewards that are equal everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """The rewards that are joined."""
    combine: Joining = "mean"
    """Of the members' standardised rewards: their mean by weight, the lowest of them, their mean
    less ``penalty`` times their standard deviation or their variance, or the order of the list.
    ``min`` and the two with a penalty distrust answers about which the members disagree; the
    variance forgives small disagreement. With ``lexicographic`` the first decides, and another only
    between answers that are on the same step (``tolerance``) by all before it."""
    penalty: Penalty = 1.0
    """Weight of the deviation, with ``combine: mean_minus_sd``, or of the variance, with
    ``mean_minus_variance``."""
    tolerance: Tolerance = 0.25
    """Width of a step in standard deviations, with ``combine: lexicographic``. Rewards on one step
    are equal. Beyond 8 standard deviations from the mean all are."""
    on_missing: OnMissing = "leave_out"
    """What to do if a member is down: choose by the others and say so, or count all rewards as
    lost. Set ``fail`` where no answer may win without a member's word, such as a safety model's."""

    @model_validator(mode="after")
    def _can_be_joined(self) -> Self:
        self.how_joined.check(self.members, "members")
        return self

    @property
    def how_joined(self) -> HowJoined:
        return HowJoined(self.combine, self.penalty, self.tolerance)

    def check_over(self, rewards: Mapping[str, RewardSettings]) -> None:
        check_over(self.members, rewards, "members")

    def compares_over(self, rewards: Mapping[str, RewardSettings]) -> bool:
        return any(rewards[member.reward].compares for member in self.members)

    def compose(self, rewards: Mapping[str, RewardBackend]) -> RewardEnsemble:
        members = [EnsembleMember(one, rewards[one.reward]) for one in self.members]
        return RewardEnsemble(self.how_joined, self.on_missing, members)
