"""What the backends' tests share: backends against a fake upstream on a real socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from bon_gateway.backends.http.names import Address, LookUp, look_up
from bon_gateway.backends.policy.vllm.policy import VllmPolicy, VllmPolicySettings
from bon_gateway.backends.reward.judge.backend import JudgeReward
from bon_gateway.backends.reward.judge.settings import JudgeSettings
from bon_gateway.backends.reward.reward_server import RewardServerBackend, RewardServerSettings
from bon_gateway.backends.reward.vllm_classify import VllmClassifyBackend, VllmClassifySettings
from bon_gateway.backends.reward.vllm_pooling import VllmPoolingBackend, VllmPoolingSettings
from bon_gateway.errors import GatewayError
from bon_gateway.protocols import PolicyBackend, RewardBackend, Trace
from bon_gateway.testing.script import Script, Step
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import ChatRequest, Completion, Sample
from tests.waiting import until

SECRET = "sk-upstream-secret"
PROMPT = "a-prompt-that-must-not-leak"
MESSAGES = [{"role": "user", "content": PROMPT}]


def policy(
    *upstreams: FakeUpstream,
    key: str | None = None,
    look_up: LookUp = look_up,
    **settings: Any,
) -> VllmPolicy:
    """One request for each candidate, unless told otherwise: then each can be scripted alone."""
    settings = {
        "probe_interval_s": 0.05,
        "fan_out": "separate",
        "urls": tuple(upstream.url for upstream in upstreams),
        **settings,
    }
    return VllmPolicy(VllmPolicySettings(type="vllm", **settings), key, look_up=look_up)


def reward_server(
    *upstreams: FakeUpstream, key: str | None = None, **settings: Any
) -> RewardServerBackend:
    settings = {"probe_interval_s": 0.05, **settings}
    urls = tuple(upstream.url for upstream in upstreams)
    return RewardServerBackend(
        RewardServerSettings(type="reward_server", urls=urls, **settings), key
    )


def vllm_classify(
    *upstreams: FakeUpstream, key: str | None = None, **settings: Any
) -> VllmClassifyBackend:
    settings = {"probe_interval_s": 0.05, **settings}
    urls = tuple(upstream.url for upstream in upstreams)
    return VllmClassifyBackend(
        VllmClassifySettings(type="vllm_classify", urls=urls, **settings), key
    )


def judge(*upstreams: FakeUpstream, key: str | None = None, **settings: Any) -> JudgeReward:
    settings = {"probe_interval_s": 0.05, "connect_timeout_s": 2.0, **settings}
    urls = tuple(upstream.url for upstream in upstreams)
    return JudgeSettings(type="judge", urls=urls, **settings).build(key)


def vllm_pooling(
    *upstreams: FakeUpstream, key: str | None = None, **settings: Any
) -> VllmPoolingBackend:
    settings = {"probe_interval_s": 0.05, **settings}
    urls = tuple(upstream.url for upstream in upstreams)
    return VllmPoolingBackend(VllmPoolingSettings(type="vllm_pooling", urls=urls, **settings), key)


class Names:
    """A name service that knows one name, and says what it is told to."""

    def __init__(self, *hosts: str) -> None:
        self.error: OSError | None = None
        self.asked: list[tuple[str, int]] = []
        self.say(*hosts)

    def say(self, *hosts: str) -> None:
        self.addresses = [
            Address(socket.AF_INET6 if ":" in host else socket.AF_INET, host) for host in hosts
        ]

    async def look_up(self, host: str, port: int) -> list[Address]:
        self.asked.append((host, port))
        if self.error is not None:
            raise self.error
        return self.addresses

    async def asked_again(self) -> None:
        """What it says now has been heard."""
        count = len(self.asked)
        await until(lambda: len(self.asked) >= count + 2)


@asynccontextmanager
async def behind_one_name(*hosts: str) -> AsyncIterator[list[FakeUpstream]]:
    """Fake upstreams at several addresses and one port."""
    async with AsyncExitStack() as stack:
        fakes: list[FakeUpstream] = []
        for host in hosts:
            port = fakes[0].port if fakes else 0
            fakes.append(await stack.enter_async_context(FakeUpstream(host=host, port=port)))
        yield fakes


def _all_up(backend: PolicyBackend | RewardBackend) -> bool:
    return set(backend.health().values()) == {"up"}


@asynccontextmanager
async def started(*backends: PolicyBackend | RewardBackend) -> AsyncIterator[None]:
    """Every replica is up before the test begins."""
    for backend in backends:
        await backend.start()
    try:
        for backend in backends:
            await until(partial(_all_up, backend))
        yield
    finally:
        for backend in backends:
            await backend.close()


def after_warm_up(upstream: FakeUpstream, script: Script | Step) -> None:
    """From now on the upstream follows ``script``, whose ordinals start at 0."""
    upstream.script = (lambda call: script) if isinstance(script, Step) else script
    upstream.requests = 0
    upstream.max_running = 0
    upstream.calls.clear()


def chat(seed: int | None = 7, request_id: str = "req", **sampling: Any) -> ChatRequest:
    return ChatRequest(
        messages=MESSAGES, sampling=sampling, seed=seed, top=1, request_id=request_id
    )


async def draw(
    backend: PolicyBackend,
    request: ChatRequest,
    indices: Sequence[int],
    *,
    count_tokens: bool = False,
    trace: Trace | None = None,
) -> dict[int, Completion | GatewayError]:
    outcomes: dict[int, Completion | GatewayError] = {}

    def report(sample: Sample) -> None:
        assert sample.index not in outcomes, "a candidate was reported twice"
        outcomes[sample.index] = sample.outcome

    trace = trace or Trace()
    trace.count_tokens = count_tokens
    await backend.sample(request, indices, trace, report)
    assert set(outcomes) == set(indices), "a candidate was not reported"
    return outcomes


@asynccontextmanager
async def drawing(
    backend: PolicyBackend,
    request: ChatRequest,
    indices: Sequence[int],
    *,
    count_tokens: bool = False,
    trace: Trace | None = None,
) -> AsyncIterator[asyncio.Queue[Sample]]:
    """Draws while the body runs, and is cancelled with its end; what is reported is queued."""
    arrived: asyncio.Queue[Sample] = asyncio.Queue()
    trace = trace or Trace()
    trace.count_tokens = count_tokens
    task = asyncio.create_task(backend.sample(request, indices, trace, arrived.put_nowait))
    try:
        yield arrived
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled() or task.exception() is None


def text(outcome: Completion | GatewayError) -> str:
    assert isinstance(outcome, Completion), repr(outcome)
    content = outcome.message["content"]
    assert isinstance(content, str)
    return content
