"""What may be drawn: one pool for each recorded request, and what was left out.

A pool has the candidates that the policy ended by itself or at its token limit. Those that it never
produced (``failed``) and those that the gateway stopped (``rejected``) have no whole answer, so no
strategy may draw them. ``invalid`` ones were produced, so they are drawn, and judged again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import orjson

from bon_common.settings.errors import SettingsError
from bon_gateway.replay.log import PlacedRequest, RecordedCandidate
from bon_gateway.strategies.decide import USABLE
from bon_gateway.types import CandidateStatus, ChatRequest

DRAWABLE = (*USABLE, CandidateStatus.INVALID)
NO_MESSAGE = "without a message"
NO_CANDIDATE = "without a candidate to draw"


@dataclass(frozen=True)
class PromptPool:
    """One recorded request."""

    place: str
    """``file:line``."""
    request: ChatRequest
    """Without a seed: each replay has its own."""
    prompt_tokens: int | None
    candidates: Sequence[RecordedCandidate]
    """Those that may be drawn, at least one; each has its message."""

    @cached_property
    def prompt(self) -> bytes:
        """Equal for requests with the same messages."""
        return prompt_key(self.request.messages)

    @cached_property
    def usable(self) -> Sequence[RecordedCandidate]:
        """Those that might win."""
        return [one for one in self.candidates if one.status in USABLE]


@dataclass(frozen=True)
class Source:
    """Who drew and who scored, by their names in the settings."""

    policy: str
    policy_revision: str | None
    reward: str | None
    compares: bool = False
    """Whether the reward only compares the candidates of one request."""

    def __str__(self) -> str:
        revision = f" at {self.policy_revision}" if self.policy_revision else ""
        scored = f"scored by {self.reward}" if self.reward else "not scored"
        scored += ", which compares the candidates of a request" if self.compares else ""
        return f"policy {self.policy}{revision}, {scored}"


@dataclass(frozen=True)
class PoolSet:
    """All pools of one replay."""

    pools: Sequence[PromptPool]
    source: Source
    requests: int
    """Lines that were read, those that were left out included."""
    left_out: Mapping[str, int]
    """Candidates that may not be drawn, by why."""
    other_requests: Mapping[str, int]
    """Requests that are no pool, by why."""

    @property
    def smallest(self) -> PromptPool:
        return min(self.pools, key=lambda pool: len(pool.candidates))

    @property
    def invalid(self) -> int:
        """Candidates that are drawn though they may not win."""
        return sum(len(pool.candidates) - len(pool.usable) for pool in self.pools)


def pool_set(lines: Iterable[PlacedRequest], model: str | None, at_least: int) -> PoolSet:
    """The pools of the served model ``model``, or of all. Raises SettingsError for lines of several
    policies or reward models, and if no pool is left."""
    pools: list[PromptPool] = []
    left_out: Counter[str] = Counter()
    other: Counter[str] = Counter()
    sources: dict[Source, str] = {}
    requests = 0
    for line in lines:
        requests += 1
        recorded = line.request
        if model is not None and recorded.model != model:
            other["of another served model"] += 1
            continue
        found = Source(
            recorded.policy, recorded.policy_revision, recorded.reward, recorded.reward_compares
        )
        sources.setdefault(found, line.place)
        pool = _pool(line, left_out)
        if not pool.candidates:
            other[NO_CANDIDATE] += 1
        elif len(pool.candidates) < at_least:
            other[f"with fewer than {at_least} candidates to draw"] += 1
        else:
            pools.append(pool)
    if not sources:
        raise SettingsError("pools", "", "hold no request" + (f" for {model}" if model else ""))
    if len(sources) > 1:
        told = "; ".join(f"{source} ({place})" for source, place in sources.items())
        raise SettingsError(
            "pools", "", f"of several policies or reward models: {told}. Give files of one, or a"
            " served model with --model",
        )  # fmt: skip
    if not pools:
        why = ", ".join(f"{count} {reason}" for reason, count in other.items())
        raise SettingsError("pools", "", f"no request is left: {why}")
    return PoolSet(pools, next(iter(sources)), requests, left_out, other)


def prompt_key(messages: Sequence[Mapping[str, object]]) -> bytes:
    return orjson.dumps(messages, option=orjson.OPT_SORT_KEYS)


def _pool(line: PlacedRequest, left_out: Counter[str]) -> PromptPool:
    recorded = line.request
    kept = []
    for candidate in recorded.candidates:
        if candidate.status not in DRAWABLE:
            left_out[candidate.status.value] += 1
        elif candidate.message is None:
            left_out[NO_MESSAGE] += 1
        else:
            kept.append(candidate)
    request = ChatRequest(recorded.messages, recorded.sampling, None, 1, line.place)
    return PromptPool(line.place, request, recorded.prompt_tokens, kept)
