"""The reward that asks others and joins their rewards. See ``settings`` for its rules."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from bon_common.selection.spread import RewardSpread
from bon_common.together import together
from bon_gateway.backends.passive import PassiveBackend
from bon_gateway.backends.reward.ensemble.asked import (
    Asked,
    Column,
    column_of,
    failure,
    joint_judging,
    most_hopeful,
)
from bon_gateway.backends.reward.ensemble.members import (
    HowJoined,
    OnMissing,
    RewardMemberSettings,
)
from bon_gateway.backends.reward.recent import RecentRewards
from bon_gateway.errors import RewardError
from bon_gateway.protocols import RewardBackend
from bon_gateway.types import Message, NonTextParts, RewardRequest, Scores

UNKNOWN = RewardSpread(0.0, 1.0)
STRICTEST_FIRST: tuple[NonTextParts, ...] = ("refuse", "leave_out", "placeholder", "send")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class EnsembleMember:
    settings: RewardMemberSettings
    backend: RewardBackend
    recent: RecentRewards = field(default_factory=RecentRewards)

    @property
    def spread(self) -> RewardSpread | None:
        """None while there is neither a setting nor a reward to learn from."""
        return self.settings.spread or self.recent.spread

    def learn(self, column: Column) -> None:
        if not isinstance(column, RewardError):
            self.recent.add(reward for reward in column if reward is not None)


@dataclass(frozen=True, slots=True)
class Quorum:
    """The members that count for a request, each with its scale, and those left out."""

    spreads: Mapping[EnsembleMember, RewardSpread]
    left_out: Sequence[str] = ()


class RewardEnsemble(PassiveBackend):
    """A ComposedReward. Its members have owners of their own, who start and close them."""

    def __init__(
        self, how: HowJoined, on_missing: OnMissing, members: Sequence[EnsembleMember]
    ) -> None:
        self._how = how
        self._on_missing: OnMissing = on_missing
        self._members = members
        self._quorums: WeakKeyDictionary[RewardRequest, Quorum] = WeakKeyDictionary()
        """The choice of each running request. It stays the same for all candidates, even if scales
        or health change meanwhile."""
        self._backends = {member.settings.reward: member.backend for member in members}
        backends = self._backends.values()
        self.announces = any(backend.announces for backend in backends)
        self.compares = any(backend.compares for backend in backends)
        self.non_text_parts: NonTextParts = min(
            [backend.non_text_parts for backend in backends], key=STRICTEST_FIRST.index
        )
        """The strictest setting of the members, because all read the same conversation."""

    def over(self, rewards: Mapping[str, RewardBackend]) -> RewardEnsemble:
        """Unchanged members keep their learnt scales."""
        members = [
            member
            if (backend := rewards[member.settings.reward]) is member.backend
            else EnsembleMember(member.settings, backend)
            for member in self._members
        ]
        if all(new is old for new, old in zip(members, self._members, strict=True)):
            return self
        return RewardEnsemble(self._how, self._on_missing, members)

    async def announce(self, request: RewardRequest) -> None:
        backends = self._backends.values()
        await together(backend.announce(request) for backend in backends if backend.announces)

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        """``Scores.members`` has the raw rewards. Raises RewardError if no member is left, or with
        ``fail`` if one is missing."""
        if not completions:
            return Scores((), 0)
        quorum = self._quorums.get(request)
        members = self._members if quorum is None else [*quorum.spreads]
        asked = await self._ask(members, request, completions)
        columns = {one: column_of(one.settings, asked[one.settings.reward]) for one in members}
        if not request.partial:
            # Use the scale of whole answers.
            for member, column in columns.items():
                member.learn(column)
        # Another call for this request may have decided meanwhile.
        quorum = self._quorums.get(request) or self._agree(request, columns, asked)
        counted = {member: columns[member] for member in quorum.spreads}
        failed = [column for column in counted.values() if isinstance(column, RewardError)]
        if failed and (self._on_missing == "fail" or len(failed) == len(counted)):
            raise most_hopeful(failed)
        return self._scores(counted, quorum, asked, len(completions))

    async def _ask(
        self,
        members: Iterable[EnsembleMember],
        request: RewardRequest,
        completions: Sequence[Message],
    ) -> dict[str, Asked]:
        """Ask each reward once, even if several members are labels of it. Raises a refusal that is
        about some of the answers: then each answer is scored alone."""
        names = list(dict.fromkeys(member.settings.reward for member in members))
        outcomes = await together(self._ask_one(name, request, completions) for name in names)
        return dict(zip(names, outcomes, strict=True))

    async def _ask_one(
        self, name: str, request: RewardRequest, completions: Sequence[Message]
    ) -> Asked:
        """Errors that the ensemble raises are retried by its caller. A reward that it would leave
        out is retried here, once."""
        try:
            return await self._backends[name].score(request, completions)
        except RewardError as error:
            if error.divisible or self._on_missing == "fail":
                raise
            if not error.retryable:
                return error
        try:
            return await self._backends[name].score(request, completions)
        except RewardError as error:
            if error.divisible:
                raise
            return error

    def _agree(
        self,
        request: RewardRequest,
        columns: Mapping[EnsembleMember, Column],
        asked: Mapping[str, Asked],
    ) -> Quorum:
        """The members that count for all answers to this request. The first answers decide, and
        also count for the learnt scale. Raises RewardError if no member counts."""
        failed: dict[EnsembleMember, RewardError] = {}
        if self._on_missing == "leave_out":
            for member, column in columns.items():
                error = failure(column, asked[member.settings.reward])
                if error is not None:
                    failed[member] = error
        kept = [member for member in columns if member not in failed]
        if not kept:
            raise most_hopeful([*failed.values()])
        left_out = [member.settings.name for member in failed]
        spreads = {member: spread for member in kept if (spread := member.spread) is not None}
        if len(spreads) < len(kept):
            # A member has refused every answer so far, so no answer has all rewards yet.
            return Quorum(dict.fromkeys(kept, UNKNOWN), left_out)
        for member, error in failed.items():
            fields = {
                "request_id": request.request_id,
                "reward": member.settings.name,
                "code": error.code,
                "reason": error.message,
            }
            _log.info("a reward is left out", extra={"fields": fields})
        quorum = self._quorums[request] = Quorum(spreads, left_out)
        return quorum

    def _scores(
        self,
        columns: Mapping[EnsembleMember, Column],
        quorum: Quorum,
        asked: Mapping[str, Asked],
        count: int,
    ) -> Scores:
        """An answer has a joint reward if all members in ``columns`` gave one."""
        join = self._how.rule([member.settings.weight for member in columns])
        rewards: list[float | None] = []
        members: list[dict[str, float]] = []
        for place in range(count):
            row = {
                member: reward
                for member, column in columns.items()
                if not isinstance(column, RewardError) and (reward := column[place]) is not None
            }
            whole = len(row) == len(columns)
            standard = [quorum.spreads[one].standardised(reward) for one, reward in row.items()]
            rewards.append(join(standard) if whole else None)
            members.append({member.settings.name: reward for member, reward in row.items()})
        said = [one for one in asked.values() if isinstance(one, Scores)]
        reasons = [column for column in columns.values() if isinstance(column, RewardError)]
        reasons += [one.missing for one in said if one.missing is not None]
        return Scores(
            tuple(rewards),
            sum(one.tokens for one in said),
            reasons[0] if reasons and None in rewards else None,
            members,
            joint_judging(one.judging for one in said),
            quorum.left_out,
        )

    def ready(self) -> bool:
        backends = [backend.ready() for backend in self._backends.values()]
        return all(backends) if self._on_missing == "fail" else any(backends)

    def warming(self) -> bool:
        return any(backend.warming() for backend in self._backends.values())

    def health(self) -> dict[str, str]:
        return _merged({name: backend.health() for name, backend in self._backends.items()})

    def troubles(self) -> dict[str, str]:
        return _merged({name: backend.troubles() for name, backend in self._backends.items()})


def _merged(by_reward: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Troubles by the names of the reward and the upstream."""
    return {f"{name}.{key}": told for name, own in by_reward.items() for key, told in own.items()}
