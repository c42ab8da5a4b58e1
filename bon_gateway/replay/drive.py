"""Runs one strategy on every pool: the driver of a replay.

The strategy is built and run as the gateway builds and runs it. Only what it talks to is recorded,
and only the clock is virtual. Requests run one after another, so that none waits for another.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

from bon_common.settings.errors import SettingsError
from bon_gateway.errors import GatewayError
from bon_gateway.protocols import Strategy, Trace
from bon_gateway.replay.clock import VirtualLoop
from bon_gateway.replay.log import RecordedCandidate
from bon_gateway.replay.policy import RecordedPolicy
from bon_gateway.replay.pools import PoolSet, PromptPool
from bon_gateway.replay.rewards import KnownReward, RecordedRewards, known_rewards
from bon_gateway.replay.schemas import StillChecker
from bon_gateway.replay.settings import ReplaySettings
from bon_gateway.strategies.history import WindowHistory
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.settings import StrategySettings
from bon_gateway.types import ChatRequest, Selection

SEED_BITS = 62


@dataclass(frozen=True, slots=True)
class Replayed:
    """One request, replayed in one order of its pool. Costs count what was drawn and scored, the
    losers and what was stopped included."""

    winner: RecordedCandidate | None
    """None if the strategy answered with an error."""
    error: str | None
    """Its code."""
    degraded: tuple[str, ...]
    drawn: int
    rounds: int
    tokens: int
    scored: int
    """Answers that the reward model read; equal ones count once."""
    scored_tokens: int
    latency_s: float
    """Virtual seconds."""
    changed: int
    """Candidates that are judged differently than when they were recorded."""


def replay(
    kind: StrategySettings, name: str, pools: PoolSet, settings: ReplaySettings
) -> list[list[Replayed]]:
    """For each pool, one entry for each permutation of the strategy that ``kind`` builds. Equal
    arguments give equal results.

    Raises SettingsError, with the strategy's ``name``, if a pool has fewer candidates than the
    strategy may draw.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_replay(kind, name, pools, settings))


async def _replay(
    kind: StrategySettings, name: str, pools: PoolSet, settings: ReplaySettings
) -> list[list[Replayed]]:
    referee = Referee(checker=StillChecker())
    strategy = kind.build(referee)
    _require_size(strategy, name, pools)
    _require_partial_rewards(kind, name, pools)
    scored = kind.needs_reward or any(
        one.reward is not None for pool in pools.pools for one in pool.candidates
    )
    known = [known_rewards(pool, settings.thinking) if scored else None for pool in pools.pools]
    history = WindowHistory()
    found: list[list[Replayed]] = [[] for _ in pools.pools]
    try:
        # One order of each pool after the other, because that is how a strategy that learns from
        # earlier requests meets them: it sees no prompt twice before it has seen all.
        for permutation in range(settings.permutations):
            for number, pool in enumerate(pools.pools):
                # Nobody waits for it when it serves. Here time stands still meanwhile.
                await history.settled()
                shuffled = _shuffled(pool, f"{settings.seed} {number} {permutation}")
                found[number].append(
                    await _replay_request(
                        strategy, shuffled, known[number], Trace(history=history), settings
                    )
                )
    finally:
        await history.close()
        await referee.close()
    return found


def _require_size(strategy: Strategy, name: str, pools: PoolSet) -> None:
    short = [p for p in pools.pools if strategy.drawn(p.request) > len(p.candidates)]
    if not short:
        return
    least = min(short, key=lambda pool: len(pool.candidates))
    needed = strategy.drawn(least.request)
    raise SettingsError(
        f"strategies.{name}", "", f"draws {needed} candidates, and the smallest pool has"
        f" {len(least.candidates)} ({least.place}; {len(short)} of {len(pools.pools)} pools are too"
        f" small). Lower it, or leave those out with --at-least {needed}",
    )  # fmt: skip


def _require_partial_rewards(kind: StrategySettings, name: str, pools: PoolSet) -> None:
    lacking = [
        (pool, candidate, checkpoint)
        for pool in pools.pools
        for candidate in pool.candidates
        for checkpoint in kind.looks_at
        if checkpoint < candidate.tokens
        and checkpoint not in [tokens for tokens, _ in candidate.partial_rewards]
    ]
    if not lacking:
        return
    pool, candidate, checkpoint = lacking[0]
    raise SettingsError(
        f"strategies.{name}", "checkpoints", "it looks at unfinished answers, and the pools lack"
        f" {len(lacking)} of their rewards: the first is that of candidate {candidate.index} after"
        f" {checkpoint} tokens ({pool.place}). They stand in partial_rewards of a candidate",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ShuffledPool:
    """One request, and its candidates in the order in which it draws them."""

    request: ChatRequest
    order: Sequence[RecordedCandidate]
    prompt_tokens: int


def _shuffled(pool: PromptPool, seed: str) -> ShuffledPool:
    """The pool's number and the permutation alone make the seed: all strategies see the same
    orders."""
    source = random.Random(seed)
    order = source.sample(pool.candidates, len(pool.candidates))
    asked = pool.request
    request = ChatRequest(
        asked.messages, asked.sampling, source.getrandbits(SEED_BITS), 1, asked.request_id
    )
    return ShuffledPool(request, order, pool.prompt_tokens or 0)


async def _replay_request(
    strategy: Strategy,
    shuffled: ShuffledPool,
    known: dict[bytes, KnownReward] | None,
    trace: Trace,
    settings: ReplaySettings,
) -> Replayed:
    order = shuffled.order
    policy = RecordedPolicy(
        order, shuffled.prompt_tokens, settings.token_ms / 1000, settings.thinking
    )
    reward = None if known is None else RecordedRewards(known, settings.reward_ms / 1000)
    loop = asyncio.get_running_loop()
    started = loop.time()
    selection: Selection | None = None
    code = None
    try:
        selection = await strategy.run(shuffled.request, policy, reward, trace)
    except GatewayError as error:
        code = error.code
    latency_s = loop.time() - started
    if policy.short:
        raise SettingsError(
            f"strategies.{strategy.name}", "", "it drew more candidates than it says, and more than"
            f" the {len(order)} of {shuffled.request.request_id}",
        )  # fmt: skip
    return Replayed(
        winner=None if selection is None else order[selection.winners[0]],
        error=code,
        degraded=() if selection is None else selection.degraded,
        drawn=len(policy.tokens),
        rounds=policy.rounds,
        tokens=sum(policy.tokens.values()),
        scored=0 if reward is None else reward.answers,
        scored_tokens=0 if reward is None else reward.tokens,
        latency_s=latency_s,
        changed=0 if selection is None else _changed(selection, order),
    )


def _changed(selection: Selection, order: Sequence[RecordedCandidate]) -> int:
    """``single`` judges nothing, so for it every candidate is finished."""
    return sum(
        candidate.status is not order[candidate.index].status
        for candidate in selection.candidates
        if candidate.completion is not None
    )
