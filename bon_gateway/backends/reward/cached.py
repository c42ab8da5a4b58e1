"""Keeps the rewards of any reward backend, so that no answer is scored twice.

The key is the conversation, its tools, the answer, and whether it is a beginning; also the
request's metadata if the reward depends on it. The ids of an answer's tool calls, which engines
draw at random, count only for rewards that may read them. An answer without a reward is not kept.
Two calls at the same time for the same answer both compute it: if they shared one call, it would
end when the other's client leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import msgspec

from bon_gateway.backends.cache.settings import RewardCacheSettings
from bon_gateway.backends.cache.store import BoundedStore, digest_of
from bon_gateway.backends.reward.wrapped import WrappedReward
from bon_gateway.errors import RewardRefusedError
from bon_gateway.metrics import CacheMeter
from bon_gateway.protocols import RewardBackend
from bon_gateway.types import Message, RewardRequest, Scores

T = TypeVar("T")


class KeptReward(msgspec.Struct, frozen=True):
    """``Scores`` of one answer."""

    reward: float
    members: Mapping[str, float] | None
    labels: Mapping[str, float] | None
    read: int | None
    truncated: bool | None

    @classmethod
    def of(cls, scores: Scores, place: int) -> KeptReward | None:
        """None for an answer without a reward."""
        reward = scores.rewards[place]
        if reward is None:
            return None
        return cls(
            reward,
            _at(scores.members, place),
            _at(scores.labels, place),
            _at(scores.read, place),
            _at(scores.truncated, place),
        )


class CachedReward(WrappedReward):
    """A RewardBackend that remembers another's rewards. These must not compare answers."""

    def __init__(
        self,
        backend: RewardBackend,
        settings: RewardCacheSettings,
        meter: CacheMeter,
        *,
        by_metadata: bool = False,
        by_call_ids: bool = True,
    ) -> None:
        """``by_metadata``: rewards depend on the request's metadata. ``by_call_ids``: they may
        depend on the ids of an answer's tool calls."""
        super().__init__(backend)
        self._by_call_ids = by_call_ids
        self._by_metadata = by_metadata
        self._meter = meter
        self._store: BoundedStore[KeptReward] = BoundedStore(
            settings.entries, dropped=meter.dropped
        )
        self._conversations: WeakKeyDictionary[RewardRequest, bytes] = WeakKeyDictionary()
        """Digests of running requests: many calls are about one conversation."""

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        """``tokens`` and ``judging`` count only new work."""
        conversation = self._conversation(request)
        seen = completions if self._by_call_ids else map(_without_call_ids, completions)
        keys = [digest_of(conversation, answer) for answer in seen]
        kept = [self._store.get(key) for key in keys]
        missing = [place for place, found in enumerate(kept) if found is None]
        self._meter.looked_up(hits=len(keys) - len(missing), misses=len(missing))
        if not missing and keys:
            return _joined(Scores((), 0), kept)
        try:
            scores = await self._backend.score(request, [completions[i] for i in missing])
        except RewardRefusedError as error:
            if error.answer is not None and 0 <= error.answer < len(missing):
                error.answer = missing[error.answer]
            raise
        for new, place in enumerate(missing):
            found = kept[place] = KeptReward.of(scores, new)
            # A reward that lacks members of an ensemble is not the ensemble's reward.
            if found is not None and not scores.left_out:
                self._store.put(keys[place], found)
        return _joined(scores, kept)

    def _conversation(self, request: RewardRequest) -> bytes:
        known = self._conversations.get(request)
        if known is None:
            metadata = request.metadata if self._by_metadata else None
            known = digest_of(request.messages, request.tools, request.partial, metadata)
            self._conversations[request] = known
        return known


def _joined(scores: Scores, answers: Sequence[KeptReward | None]) -> Scores:
    """``scores`` of the new answers, completed with the cached rewards of the others."""

    def column(of: Callable[[KeptReward], T | None]) -> list[T] | None:
        values = [value for one in answers if one is not None and (value := of(one)) is not None]
        return values if len(values) == len(answers) else None

    def mappings(of: Callable[[KeptReward], Mapping[str, float] | None]) -> Any:
        found = [{} if one is None else of(one) or {} for one in answers]
        return found if any(found) else None

    return msgspec.structs.replace(
        scores,
        rewards=tuple([None if one is None else one.reward for one in answers]),
        members=mappings(lambda one: one.members),
        labels=mappings(lambda one: one.labels),
        read=column(lambda one: one.read),
        truncated=column(lambda one: one.truncated),
    )


def _without_call_ids(answer: Message) -> Message:
    calls = answer.get("tool_calls")
    if not isinstance(calls, list):
        return answer
    known = [{**call, "id": None} if isinstance(call, Mapping) else call for call in calls]
    return {**answer, "tool_calls": known}


def _at(values: Sequence[T] | None, place: int) -> T | None:
    return None if values is None else values[place]
