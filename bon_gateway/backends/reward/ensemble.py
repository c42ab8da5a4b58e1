"""Several rewards joined to one: an ensemble against hacking, or dimensions with weights.

All members are asked at the same time. Each one's rewards are standardised by its own mean and
standard deviation first, because reward models differ in zero point and scale. Where a reward model
can be fooled, others of another training are fooled by other answers; the lowest of their rewards,
or their mean less their variance, trusts no answer about which they disagree (Coste et al. 2023,
arXiv:2310.02743).

An answer has a joint reward only if all members gave one: a mean over fewer would not compare with
those of the other candidates. So a member that is down costs all rewards. All members read the same
conversation: the strictest ``non_text_parts`` among them decides about parts that are not text.

Where ``mean`` and ``std`` of a member are not set, they are those of its newest 4096 rewards that
this worker has seen, the first ones of the request included, and stay the same until the request
ends. Workers learn apart and begin anew after a restart, so equal answers to different requests get
slightly different rewards. Set both for a strategy that compares rewards with a fixed number, such
as ``good_enough``, and for rewards that are equal everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, Self
from weakref import WeakKeyDictionary

from pydantic import Field, PositiveFloat, model_validator

from bon_common.ensemble import Combine, combine
from bon_common.selection.spread import RewardSpread
from bon_common.together import together
from bon_gateway.backends.passive import PassiveBackend
from bon_gateway.backends.reward.recent import RecentRewards
from bon_gateway.backends.settings import ComposedRewardSettings, RewardSettings
from bon_gateway.protocols import RewardBackend
from bon_gateway.sections.base import Section
from bon_gateway.types import JudgeUsage, Message, NonTextParts, RewardRequest, Scores

UNKNOWN = RewardSpread(0.0, 1.0)
STRICTEST_FIRST: tuple[NonTextParts, ...] = ("refuse", "leave_out", "placeholder", "send")


class RewardMemberSettings(Section):
    """One of the rewards in an ensemble."""

    reward: str
    """A name in ``rewards``. That reward cannot be an ensemble itself."""
    weight: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """How much it counts beside the others, with ``mean`` and ``mean_minus_variance``. Only ratios
    matter."""
    mean: float | None = None
    """Mean of its rewards over many requests, which is subtracted from each. None learns it, and
    ``std``, from this worker's newest 4096 rewards. ``rm_meta.json`` of a reward model that
    bon-train trained states both."""
    std: PositiveFloat | None = None
    """Their standard deviation. It divides the difference from ``mean``."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.mean is None) is not (self.std is None):
            raise ValueError("mean and std belong together: set both, or neither to learn them")
        return self

    @property
    def spread(self) -> RewardSpread | None:
        """None if it has to be learnt."""
        if self.mean is None or self.std is None:
            return None
        return RewardSpread(self.mean, self.std)


class RewardEnsembleSettings(ComposedRewardSettings):
    """Other rewards, asked together. A joint reward is in standard deviations."""

    type: Literal["ensemble"]
    members: Annotated[tuple[RewardMemberSettings, ...], Field(min_length=2)]
    """The rewards that are joined."""
    combine: Combine = "mean"
    """Of the members' standardised rewards: their mean by weight, the lowest of them, or their mean
    less ``penalty`` times their variance. The last two distrust answers about which the members
    disagree."""
    penalty: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    """Weight of the variance, with ``combine: mean_minus_variance``."""

    @model_validator(mode="after")
    def _each_once_and_weights_count(self) -> Self:
        for name in self.refers_to:
            if self.refers_to.count(name) > 1:
                raise ValueError(f"members: {name!r} is there twice; give it a weight instead")
        if self.combine == "min" and any(member.weight != 1 for member in self.members):
            raise ValueError("members: a weight has no meaning with combine: min")
        return self

    @property
    def refers_to(self) -> tuple[str, ...]:
        """The members' names."""
        return tuple(member.reward for member in self.members)

    def check_over(self, rewards: Mapping[str, RewardSettings]) -> None:
        for place, member in enumerate(self.members):
            if member.reward not in rewards:
                raise ValueError(
                    f"members.{place}.reward: no reward with a model of its own is named"
                    f" {member.reward!r}"
                )

    def compares_over(self, rewards: Mapping[str, RewardSettings]) -> bool:
        return any(rewards[name].compares for name in self.refers_to)

    def compose(self, rewards: Mapping[str, RewardBackend]) -> RewardEnsemble:
        members = [EnsembleMember(one, rewards[one.reward]) for one in self.members]
        return RewardEnsemble(self, members)


@dataclass(frozen=True, slots=True)
class EnsembleMember:
    settings: RewardMemberSettings
    backend: RewardBackend
    recent: RecentRewards = field(default_factory=RecentRewards)

    @property
    def spread(self) -> RewardSpread | None:
        """None as long as there is neither a setting nor a reward to learn from."""
        return self.settings.spread or self.recent.spread


class RewardEnsemble(PassiveBackend):
    """A ComposedReward. Its members have owners of their own, who start and close them."""

    def __init__(self, settings: RewardEnsembleSettings, members: Sequence[EnsembleMember]) -> None:
        self._settings = settings
        self._members = members
        self._weights = [member.settings.weight for member in members]
        self._spreads: WeakKeyDictionary[RewardRequest, list[RewardSpread]] = WeakKeyDictionary()
        """Those of each request that runs. All its candidates are standardised alike, whatever is
        learnt meanwhile."""
        backends = [member.backend for member in members]
        self.announces = any(backend.announces for backend in backends)
        self.compares = any(backend.compares for backend in backends)
        self.non_text_parts: NonTextParts = min(
            [backend.non_text_parts for backend in backends], key=STRICTEST_FIRST.index
        )
        """The strictest of the members', who all read the same conversation."""

    def over(self, rewards: Mapping[str, RewardBackend]) -> RewardEnsemble:
        """Members that stay the same keep what was learnt of them."""
        backends = [rewards[name] for name in self._settings.refers_to]
        pairs = list(zip(self._members, backends, strict=True))
        if all(member.backend is backend for member, backend in pairs):
            return self
        members = [
            member if member.backend is backend else EnsembleMember(member.settings, backend)
            for member, backend in pairs
        ]
        return RewardEnsemble(self._settings, members)

    async def announce(self, request: RewardRequest) -> None:
        backends = [member.backend for member in self._members]
        await together(backend.announce(request) for backend in backends if backend.announces)

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        """One member that fails fails the call. ``Scores.members`` has the raw rewards."""
        scores = await together(
            member.backend.score(request, completions) for member in self._members
        )
        columns = [one.rewards for one in scores]
        spreads = self._spreads_for(request, columns)
        return Scores(
            tuple([self._joined(row, spreads) for row in zip(*columns, strict=True)]),
            sum(one.tokens for one in scores),
            next((one.missing for one in scores if one.missing is not None), None),
            [self._by_name(row) for row in zip(*columns, strict=True)],
            joint_judging(one.judging for one in scores),
        )

    def _joined(self, row: Sequence[float | None], spreads: Sequence[RewardSpread]) -> float | None:
        """The joint reward of one answer. ``row`` has each member's reward for it."""
        standard = [
            spread.standardised(reward)
            for reward, spread in zip(row, spreads, strict=True)
            if reward is not None
        ]
        if len(standard) < len(row):
            return None
        return combine(standard, self._settings.combine, self._settings.penalty, self._weights)

    def _by_name(self, row: Sequence[float | None]) -> dict[str, float]:
        names = self._settings.refers_to
        return {name: r for name, r in zip(names, row, strict=True) if r is not None}

    def _spreads_for(
        self, request: RewardRequest, columns: Sequence[Sequence[float | None]]
    ) -> list[RewardSpread]:
        """The first rewards of a request count among those that standardise them, so that the very
        first request has a scale too."""
        for member, column in zip(self._members, columns, strict=True):
            # The scale is that of whole answers.
            if not request.partial:
                member.recent.add(reward for reward in column if reward is not None)
        if (frozen := self._spreads.get(request)) is not None:
            return frozen
        spreads = [spread for m in self._members if (spread := m.spread) is not None]
        if len(spreads) < len(self._members):
            # A member has refused all that it ever got, so no answer has all rewards.
            return [UNKNOWN for _ in self._members]
        self._spreads[request] = spreads
        return spreads

    def ready(self) -> bool:
        return all(member.backend.ready() for member in self._members)

    def warming(self) -> bool:
        return any(member.backend.warming() for member in self._members)

    def health(self) -> dict[str, str]:
        return _merged({m.settings.reward: m.backend.health() for m in self._members})

    def troubles(self) -> dict[str, str]:
        return _merged({m.settings.reward: m.backend.troubles() for m in self._members})


def joint_judging(usages: Iterable[JudgeUsage | None]) -> JudgeUsage | None:
    """The sum; None if no chat model was asked."""
    known = [usage for usage in usages if usage is not None]
    return sum(known, JudgeUsage()) if known else None


def _merged(by_member: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """By the member's name and the upstream's."""
    return {f"{name}.{key}": told for name, own in by_member.items() for key, told in own.items()}
