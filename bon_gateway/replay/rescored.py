"""Scores recorded answers anew by any rewards of the gateway's settings.

All answers of a request go in one call, so a judge may compare them with each other. A file keeps
each call's outcome until the reward's settings, a file that they name, or the answers change.
Answers that a call fails to score have no reward, and the report counts failures.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import orjson

from bon_common.settings.errors import SettingsError
from bon_gateway.backends.reward.identity import reward_identity
from bon_gateway.errors import BadRequestError, RewardError
from bon_gateway.judging import JudgeUsage
from bon_gateway.offline_rewards import RewardCost, opened_rewards
from bon_gateway.protocols import RewardBackend
from bon_gateway.replay.log import RecordedCandidate
from bon_gateway.replay.pools import PoolSet, PromptPool
from bon_gateway.settings.tree import AnyReward
from bon_gateway.strategies.conversation import RewardView
from bon_gateway.strategies.prefill import Prefill
from bon_gateway.thinking import ThinkingSettings
from bon_gateway.types import Message

SCORES = "scores.jsonl"
KEY = "score_by"
AT_ONCE = 4
"""Requests whose answers are scored at the same time by one reward."""


class ScoredCall(msgspec.Struct, frozen=True):
    """A line of the file: the rewards of one request's answers, without their texts."""

    key: str
    rewards: tuple[float | None, ...]
    tokens: int = 0
    judge: JudgeUsage | None = None


def told_costs(costs: Mapping[str, RewardCost]) -> dict[str, str]:
    """For a report's setup."""
    return {f"Scored by {name}": str(cost) for name, cost in costs.items()}


def chosen_by(found: PoolSet, name: str) -> PoolSet:
    """The pools with this entry of ``rewards`` in place of the recorded reward. Partial rewards are
    dropped: they belong to the reward that served."""

    def own(one: RecordedCandidate) -> RecordedCandidate:
        reward = one.rewards.get(name)
        return msgspec.structs.replace(one, reward=reward, partial_rewards=())

    return replace(
        found,
        pools=[replace(p, candidates=[own(one) for one in p.candidates]) for p in found.pools],
    )


@dataclass(frozen=True)
class RecordedAnswers:
    """The answers of one request, as a reward model reads them."""

    key: str
    view: RewardView
    answers: Mapping[bytes, Message]


def rescored(
    found: PoolSet,
    rewards: Mapping[str, AnyReward],
    folder: Path,
    environ: Mapping[str, str],
    tell: Callable[[str], None],
    thinking: ThinkingSettings | None = None,
) -> tuple[PoolSet, Mapping[str, RewardCost]]:
    """The pools with an entry in the candidates' ``rewards`` for each of ``rewards``, and the cost
    of each. Raises SettingsError for an unusable reward, or for one that scored nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / SCORES
    known = {call.key: call for call in _kept(file)}
    with file.open("ab") as out:
        if file.stat().st_size and not file.read_bytes().endswith(b"\n"):
            out.write(b"\n")
        return asyncio.run(
            _rescored(found, rewards, environ, tell, ScoreFile(known, out), thinking)
        )


async def _rescored(
    found: PoolSet,
    rewards: Mapping[str, AnyReward],
    environ: Mapping[str, str],
    tell: Callable[[str], None],
    file: ScoreFile,
    thinking: ThinkingSettings | None,
) -> tuple[PoolSet, Mapping[str, RewardCost]]:
    costs: dict[str, RewardCost] = {}
    pools = found.pools
    async with opened_rewards(rewards, f"{KEY}.{{}}".format, environ) as backends:
        for name, backend in backends.items():
            tell(f"scoring the answers of {len(pools)} requests by {name}")
            run = _Rescoring(name, backend, reward_identity(name, rewards), file, thinking)
            pools = await run.all(pools)
            costs[name] = run.cost
            tell(f"{name}: {run.cost}")
    return replace(found, pools=pools), costs


@dataclass(frozen=True)
class ScoreFile:
    """The calls of this run and of earlier ones."""

    known: dict[str, ScoredCall]
    out: BinaryIO

    def add(self, call: ScoredCall) -> None:
        self.out.write(msgspec.json.encode(call) + b"\n")
        self.out.flush()


class _Rescoring:
    """One reward on all pools."""

    def __init__(
        self,
        name: str,
        backend: RewardBackend,
        identity: bytes,
        file: ScoreFile,
        thinking: ThinkingSettings | None,
    ) -> None:
        self._name, self._backend, self._identity = name, backend, identity
        self._file, self._thinking = file, thinking
        self._places = asyncio.Semaphore(AT_ONCE)
        self._last: str = ""
        self.cost = RewardCost()

    async def all(self, pools: Sequence[PromptPool]) -> list[PromptPool]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._pool(pool)) for pool in pools]
        if not self.cost.calls:
            reason = f"it scored nothing; the last call failed: {self._last}"
            raise SettingsError("settings", f"{KEY}.{self._name}", reason)
        return [task.result() for task in tasks]

    async def _pool(self, pool: PromptPool) -> PromptPool:
        async with self._places:
            try:
                asked = self._question(pool)
                call = self._file.known.get(asked.key)
                if call is None:
                    call = await self._ask(asked)
            except (RewardError, BadRequestError) as error:
                self.cost.failed[error.code] += 1
                self._last = error.message
                return pool
        self.cost.add(call.rewards, call.tokens, call.judge)
        scores = dict(zip(asked.answers, call.rewards, strict=True))

        def with_reward(one: RecordedCandidate) -> RecordedCandidate:
            kept = {name: r for name, r in one.rewards.items() if name != self._name}
            reward = scores.get(orjson.dumps(asked.view.answer(one.message or {})))
            if reward is not None:
                kept[self._name] = reward
            return msgspec.structs.replace(one, rewards=kept)

        return replace(pool, candidates=[with_reward(one) for one in pool.candidates])

    def _question(self, pool: PromptPool) -> RecordedAnswers:
        """Raises BadRequestError for a conversation that the reward model cannot read."""
        prefill, parts = Prefill.of(pool.request), self._backend.non_text_parts
        view = RewardView.of(pool.request, self._thinking, prefill, parts)
        said = [view.answer(one.message or {}) for one in pool.usable]
        answers: dict[bytes, Message] = {orjson.dumps(answer): answer for answer in said}
        asked = view.request
        shown: list[Any] = [asked.messages, asked.tools, asked.metadata, [*answers.values()]]
        digest = hashlib.sha256(self._identity + orjson.dumps(shown)).hexdigest()
        return RecordedAnswers(digest[:32], view, answers)

    async def _ask(self, asked: RecordedAnswers) -> ScoredCall:
        scores = await self._backend.score(asked.view.request, [*asked.answers.values()])
        call = ScoredCall(asked.key, scores.rewards, scores.tokens, scores.judging)
        if scores.missing is None or not scores.missing.retryable:
            # A failure that may pass is not kept, so the next run tries again.
            self._file.add(call)
        return call


def _kept(file: Path) -> Iterator[ScoredCall]:
    """The lines of an earlier run, without one that was cut off."""
    for line in file.read_bytes().splitlines() if file.exists() else ():
        try:
            yield msgspec.json.decode(line, type=ScoredCall)
        except msgspec.DecodeError:
            continue
