"""Every kind of reward backend, with what its model has read so far."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from bon_gateway.backends.reward.in_process import InProcessReward
from bon_gateway.backends.reward.in_process_settings import InProcessRewardSettings
from bon_gateway.protocols import RewardBackend
from bon_gateway.testing.script import Step
from bon_gateway.testing.upstream import FakeUpstream
from reward_server.schema import ItemResult, ScoreResponse, ScoreTimings, ScoreUsage
from tests.bon_gateway.backends.support import after_warm_up, reward_server, started, vllm_classify

Turns = list[dict[str, Any]]
Read = Callable[[], list[Turns]]
"""The conversations that were scored, each with the answer as its last turn."""


class RecordingScorer:
    """A scorer for the reward model in this process, which gives every answer 0."""

    def __init__(self) -> None:
        self.read: list[Turns] = []

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def warm_up(self) -> None: ...

    async def score(self, items: list[Any]) -> ScoreResponse:
        for item in items:
            self.read += [[*item.messages, completion] for completion in item.completions]
        counts = [len(item.completions) for item in items]
        return ScoreResponse(
            model="m",
            results=[
                ItemResult(rewards=[0.0] * n, tokens=[1] * n, truncated=[False] * n) for n in counts
            ],
            usage=ScoreUsage(sequences=sum(counts), tokens=sum(counts)),
            timings_ms=ScoreTimings(queue=0.0, model=0.0),
        )


@asynccontextmanager
async def in_process(**settings: Any) -> AsyncIterator[tuple[RewardBackend, Read]]:
    scorer: Any = RecordingScorer()
    backend = InProcessReward(
        InProcessRewardSettings(type="in_process", model="m", **settings), load=lambda _: scorer
    )
    async with started(backend):
        yield backend, lambda: scorer.read


@asynccontextmanager
async def at_a_reward_server(**settings: Any) -> AsyncIterator[tuple[RewardBackend, Read]]:
    async with FakeUpstream() as upstream:
        backend = reward_server(upstream, **settings)
        async with started(backend):
            after_warm_up(upstream, Step())
            yield (
                backend,
                lambda: [
                    [*item["messages"], completion]
                    for call in upstream.calls
                    for item in call.body["items"]
                    for completion in item["completions"]
                ],
            )


@asynccontextmanager
async def at_vllm(**settings: Any) -> AsyncIterator[tuple[RewardBackend, Read]]:
    async with FakeUpstream() as upstream:
        backend = vllm_classify(upstream, **settings)
        async with started(backend):
            after_warm_up(upstream, Step())
            yield backend, lambda: [call.body["messages"] for call in upstream.calls]


READERS = (at_a_reward_server, at_vllm, in_process)
