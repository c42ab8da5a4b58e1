"""What both reward backends over HTTP have in common."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable

import pytest

from bon_gateway.backends.reward.reward_server import RewardServerBackend
from bon_gateway.backends.reward.vllm_classify import VllmClassifyBackend
from bon_gateway.errors import RewardError, RewardRefusedError
from bon_gateway.testing.script import Step, fake_reward
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import Caller, RewardRequest
from tests.bon_gateway.backends.support import (
    MESSAGES,
    PROMPT,
    SECRET,
    after_warm_up,
    reward_server,
    started,
    vllm_classify,
)
from tests.waiting import until

Build = Callable[..., RewardServerBackend | VllmClassifyBackend]

ANSWERS = [f"answer {word}" for word in ("one", "two", "three", "four")]
COMPLETIONS = [{"role": "assistant", "content": answer, "refusal": None} for answer in ANSWERS]


@pytest.fixture(params=[reward_server, vllm_classify])
def build(request: pytest.FixtureRequest) -> Build:
    build: Build = request.param
    return build


async def test_raw_rewards_in_the_order_given(upstream: FakeUpstream, build: Build) -> None:
    backend = build(upstream)
    async with started(backend):
        scores = await backend.score(RewardRequest(MESSAGES), COMPLETIONS)
        mirrored = await backend.score(RewardRequest(MESSAGES), COMPLETIONS[::-1])
    assert scores.rewards == tuple(fake_reward(answer) for answer in ANSWERS)
    assert mirrored.rewards == scores.rewards[::-1]
    # Each conversation: a prompt of one word and an answer of two, and a token for each turn.
    assert scores.tokens == 4 * 5


async def test_nothing_to_score_asks_nothing(upstream: FakeUpstream, build: Build) -> None:
    backend = build(upstream)
    async with started(backend):
        upstream.requests = 0
        assert (await backend.score(RewardRequest(MESSAGES), [])).rewards == ()
    assert upstream.requests == 0


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (Step(status=401, error="Unauthorized"), "reward_unavailable"),
        (Step(status=404, error={"message": "no model"}), "reward_unavailable"),
        (Step(status=307, headers={"location": "/health"}), "reward_unavailable"),
        (Step(status=500, error=PROMPT), "reward_unavailable"),
        (Step(status=429, error="slow"), "reward_overloaded"),
        (Step(status=503, error="full"), "reward_overloaded"),
        (Step(cut_after=0), "reward_unavailable"),
        (Step(cut_after=1), "reward_unavailable"),
        (Step(raw=b"{"), "reward_unavailable"),
        (Step(raw=b"{}"), "reward_unavailable"),
        (Step(raw=b"[]"), "reward_unavailable"),
        (Step(raw=b'{"data": [], "results": []}'), "reward_unavailable"),
        (Step(raw=b'{"data": [1], "results": [1]}'), "reward_unavailable"),
    ],
)
async def test_every_failure_is_a_reward_error(
    upstream: FakeUpstream, build: Build, step: Step, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    backend = build(upstream, key=SECRET)
    async with started(backend):
        after_warm_up(upstream, step)
        with pytest.raises(RewardError) as raised:
            await backend.score(RewardRequest(MESSAGES), COMPLETIONS)
    error = raised.value
    assert (error.status, error.code) == (503, code)
    assert error.retry_after is not None
    told = f"{error!r} {error.body()} {caplog.text}"
    assert PROMPT not in told
    assert SECRET not in told
    assert "answer" not in told.replace("its answer", "").replace("upstream answered", "")


@pytest.mark.parametrize("param", ["items[0].messages", "items[0].messages[0].content", PROMPT])
async def test_a_refusal_is_told_in_other_words(
    upstream: FakeUpstream, build: Build, param: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    backend = build(upstream)
    async with started(backend):
        error = {"message": PROMPT, "param": param, "code": "unrenderable_conversation"}
        after_warm_up(upstream, Step(status=400, error=error))
        try:
            refusal = (await backend.score(RewardRequest(MESSAGES), COMPLETIONS)).missing
        except RewardRefusedError as refused:
            refusal = refused
        assert backend.ready()
    assert refusal is not None
    assert (refusal.status, refusal.code) == (422, "reward_refused")
    assert (refusal.retry_after, refusal.retryable) == (None, False)
    assert "400 unrenderable_conversation" in refusal.message
    assert PROMPT not in f"{refusal!r} {refusal.body()} {caplog.text}"


async def test_a_failure_is_not_tried_again_here(upstream: FakeUpstream, build: Build) -> None:
    async with FakeUpstream() as other:
        backend = build(upstream, other)
        async with started(backend):
            for fake in (upstream, other):
                after_warm_up(fake, Step(status=500, error="boom"))
            with pytest.raises(RewardError):
                await backend.score(RewardRequest(MESSAGES), COMPLETIONS[:1])
            assert upstream.requests + other.requests == 1


async def test_retry_after_is_passed_on(upstream: FakeUpstream, build: Build) -> None:
    backend = build(upstream)
    async with started(backend):
        after_warm_up(upstream, Step(status=503, error="full", headers={"retry-after": "9"}))
        with pytest.raises(RewardError) as raised:
            await backend.score(RewardRequest(MESSAGES), COMPLETIONS)
    assert raised.value.retry_after == 9.0


async def test_none_up_fails_without_waiting(upstream: FakeUpstream, build: Build) -> None:
    upstream.healthy = False
    backend = build(upstream, probe_interval_s=6.0)
    await backend.start()
    try:
        async with asyncio.timeout(0.2):
            with pytest.raises(RewardError) as raised:
                await backend.score(RewardRequest(MESSAGES), COMPLETIONS)
    finally:
        await backend.close()
    assert raised.value.retry_after == 6.0
    assert upstream.requests == 0


async def test_a_hanging_score_times_out(upstream: FakeUpstream, build: Build) -> None:
    backend = build(upstream, timeout_s=0.15)
    async with started(backend):
        after_warm_up(upstream, Step(hold=asyncio.Event()))
        with pytest.raises(RewardError):
            await backend.score(RewardRequest(MESSAGES), COMPLETIONS)
        await until(lambda: upstream.running == 0)


async def test_cancelling_drops_the_work_upstream(upstream: FakeUpstream, build: Build) -> None:
    backend = build(upstream)
    async with started(backend):
        after_warm_up(upstream, Step(hold=asyncio.Event()))
        task = asyncio.create_task(backend.score(RewardRequest(MESSAGES), COMPLETIONS))
        await until(lambda: upstream.running > 0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: upstream.running == 0)
        assert upstream.aborted == upstream.requests


async def test_it_is_up_only_after_health_and_one_score(
    upstream: FakeUpstream, build: Build
) -> None:
    gate = asyncio.Event()
    upstream.healthy = False
    upstream.script = lambda call: Step(hold=gate)
    backend = build(upstream)
    await backend.start()
    try:
        await until(lambda: upstream.probes >= 2)
        assert upstream.requests == 0
        upstream.healthy = True
        await until(lambda: upstream.running == 1)
        assert not backend.ready()
        gate.set()
        await until(backend.ready)
    finally:
        await backend.close()


async def test_a_stopped_server_is_ejected_and_comes_back(
    upstream: FakeUpstream, build: Build
) -> None:
    backend = build(upstream)
    async with started(backend):
        await upstream.stop()
        # The first may still go to a connection that was closed under it.
        for _ in range(2):
            with pytest.raises(RewardError):
                await backend.score(RewardRequest(MESSAGES), COMPLETIONS)
        assert not backend.ready()
        await upstream.start()
        await until(backend.ready)
        assert len((await backend.score(RewardRequest(MESSAGES), COMPLETIONS)).rewards) == 4


async def test_the_less_loaded_server_is_asked(upstream: FakeUpstream, build: Build) -> None:
    async with FakeUpstream() as other:
        backend = build(upstream, other)
        gate = asyncio.Event()
        async with started(backend):
            for fake in (upstream, other):
                after_warm_up(fake, Step(hold=gate))
            tasks = [
                asyncio.create_task(backend.score(RewardRequest(MESSAGES), COMPLETIONS[:1]))
                for _ in range(6)
            ]
            await until(lambda: upstream.running + other.running == 6)
            assert upstream.running == other.running == 3
            gate.set()
            await asyncio.gather(*tasks)


async def test_the_key_is_sent(upstream: FakeUpstream, build: Build) -> None:
    backend = build(upstream, key=SECRET)
    async with started(backend):
        await backend.score(RewardRequest(MESSAGES), COMPLETIONS)
    assert {call.headers["authorization"] for call in upstream.calls} == {f"Bearer {SECRET}"}


@pytest.mark.parametrize("reward", [math.inf, -math.inf, math.nan])
async def test_a_reward_that_is_no_number_is_a_failure(
    upstream: FakeUpstream, build: Build, reward: float
) -> None:
    backend = build(upstream)
    async with started(backend):
        after_warm_up(upstream, Step(reward=reward))
        with pytest.raises(RewardError):
            await backend.score(RewardRequest(MESSAGES), COMPLETIONS)


async def test_calls_carry_the_request_and_its_trace(upstream: FakeUpstream, build: Build) -> None:
    trace = {"traceparent": "00-1-2-01", "tracestate": "a=1", "baggage": "b=1"}
    backend = build(upstream)
    async with started(backend):
        after_warm_up(upstream, Step())
        await backend.score(RewardRequest(MESSAGES, caller=Caller("req#1", trace)), COMPLETIONS)
    assert upstream.calls
    for call in upstream.calls:
        assert {name: call.headers.get(name) for name in ("x-request-id", *trace)} == {
            "x-request-id": "req#1",
            **trace,
        }


async def test_one_request_is_blamed_once_however_often_it_is_scored(
    upstream: FakeUpstream, build: Build
) -> None:
    backend = build(upstream, failures_to_eject=2, probe_interval_s=30.0)
    async with started(backend):
        after_warm_up(upstream, Step(cut_after=5))
        for request_id, ready in (("a", True), ("a", True), ("a", True), ("b", False)):
            with pytest.raises(RewardError):
                await backend.score(
                    RewardRequest(MESSAGES, caller=Caller(request_id)), COMPLETIONS[:1]
                )
            assert backend.ready() is ready
