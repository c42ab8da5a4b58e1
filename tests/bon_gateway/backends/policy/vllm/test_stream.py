"""VllmPolicy.stream: one candidate, token by token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from bon_gateway.assemble import Assembly
from bon_gateway.errors import (
    PolicyError,
    PolicyFailedError,
    PolicyOverloadedError,
    PolicyRefusedError,
    PolicyTimeoutError,
    PolicyUnreachableError,
)
from bon_gateway.protocols import Trace
from bon_gateway.testing.script import Step, fake_tokens
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import Completion, Delta
from tests.bon_gateway.backends.support import after_warm_up, chat, draw, policy, started
from tests.waiting import until


async def test_each_token_is_a_delta_of_its_own(upstream: FakeUpstream) -> None:
    trace = Trace()
    counts = []
    pieces = []
    backend = policy(upstream)
    async with (
        started(backend),
        aclosing(backend.stream(chat(seed=3, top_p=0.5), trace)) as deltas,
    ):
        async for delta in deltas:
            counts.append((delta.tokens, trace.tokens[0]))
            pieces.append((delta.choice or {}).get("delta", {}).get("content"))
    assert pieces == ["", *fake_tokens(3, 12), None]
    assert counts == [(number, number) for number in (0, *range(1, 13), 12)]
    body = upstream.calls[-1].body
    assert (body["seed"], body["top_p"], body["n"]) == (3, 0.5, 1)
    assert "stream_interval" not in body


async def test_a_stream_bears_its_session(upstream: FakeUpstream) -> None:
    backend = policy(upstream, session_header="x-session-id")
    async with started(backend):
        await read(backend.stream(chat(request_id="abc"), Trace()), [])
    headers = upstream.calls[-1].headers
    assert (headers["x-session-id"], headers["x-request-id"]) == ("abc", "abc-0")


async def test_deltas_put_together_equal_the_whole_answer(upstream: FakeUpstream) -> None:
    backend = policy(upstream)
    request = chat(logprobs=True, return_token_ids=True)
    assembly = Assembly()
    async with started(backend):
        seen: list[Delta] = []
        await read(backend.stream(request, Trace()), seen)
        for delta in seen:
            assembly.add(delta)
        whole = (await draw(backend, request, [0]))[0]
    assert isinstance(whole, Completion)
    streamed = assembly.completion()
    assert streamed.extra == {k: v for k, v in whole.extra.items() if v is not None}
    for name in ("tokens", "prompt_tokens", "finish_reason", "logprobs"):
        assert getattr(streamed, name) == getattr(whole, name), name
    assert streamed.message["content"] == whole.message["content"]


async def read(deltas: AsyncGenerator[Delta, None], seen: list[Delta]) -> None:
    async with aclosing(deltas):
        async for delta in deltas:
            seen.append(delta)  # noqa: PERF401  what came before a failure must be kept


async def failing(upstream: FakeUpstream, step: Step, **settings: Any) -> None:
    backend = policy(upstream, **settings)
    async with started(backend):
        after_warm_up(upstream, step)
        await read(backend.stream(chat(), Trace()), [])


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (Step(status=400, error={"message": "no", "param": "top_p"}), PolicyRefusedError),
        (Step(status=401, error="Unauthorized"), PolicyFailedError),
        (Step(status=429, error="slow"), PolicyOverloadedError),
        (Step(status=500, error="boom"), PolicyFailedError),
        (Step(stream_error={"message": "no", "code": 400}), PolicyRefusedError),
        (Step(stream_error={"message": "boom", "code": 500}), PolicyFailedError),
        (Step(finish_reason="abort"), PolicyFailedError),
        (Step(finish_reason=""), PolicyFailedError),
        (Step(cut_after=0), PolicyUnreachableError),
        (Step(cut_after=4), PolicyFailedError),
        (Step(raw=b"data: {}\n\ndata: [DONE]\n\n"), PolicyFailedError),
        (Step(raw=b"data: [DONE]\n\n"), PolicyFailedError),
        (Step(raw=b""), PolicyFailedError),
    ],
)
async def test_a_failure_is_raised(
    upstream: FakeUpstream, step: Step, kind: type[PolicyError]
) -> None:
    with pytest.raises(PolicyError) as raised:
        await failing(upstream, step)
    assert type(raised.value) is kind


async def test_what_came_before_a_cut_was_handed_on(upstream: FakeUpstream) -> None:
    backend = policy(upstream)
    trace = Trace()
    seen: list[Delta] = []
    async with started(backend):
        after_warm_up(upstream, Step(cut_after=4))
        with pytest.raises(PolicyFailedError):
            await read(backend.stream(chat(), trace), seen)
    pieces = [(delta.choice or {})["delta"]["content"] for delta in seen]
    assert pieces == ["", *fake_tokens(7, 12)[:4]]
    assert trace.tokens == {0: 4}


async def test_a_stream_that_hangs_times_out(upstream: FakeUpstream) -> None:
    with pytest.raises(PolicyTimeoutError):
        await failing(upstream, Step(hang_after=2), timeout_s=0.15)


async def test_closing_aborts_the_stream(upstream: FakeUpstream) -> None:
    backend = policy(upstream)
    async with started(backend):
        after_warm_up(upstream, Step(hang_after=3))
        async with aclosing(backend.stream(chat(), Trace())) as deltas:
            async for delta in deltas:
                if delta.tokens == 3:
                    break
            assert upstream.running == 1
        await until(lambda: upstream.running == 0)
        assert upstream.aborted == 1


async def test_cancelling_the_reader_aborts_the_stream(upstream: FakeUpstream) -> None:
    backend = policy(upstream)
    async with started(backend):
        after_warm_up(upstream, Step(hang_after=3))
        reader = asyncio.create_task(read(backend.stream(chat(), Trace()), []))
        await until(lambda: upstream.tokens_sent >= 3 and upstream.running == 1)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await until(lambda: upstream.running == 0)
        assert upstream.aborted == 1


async def test_no_replica_up_is_raised_at_once(upstream: FakeUpstream) -> None:
    upstream.healthy = False
    backend = policy(upstream, probe_interval_s=3.0)
    await backend.start()
    try:
        with pytest.raises(PolicyUnreachableError) as raised:
            await anext(backend.stream(chat(), Trace()))
        assert raised.value.retry_after == 3.0
    finally:
        await backend.close()


async def test_connections_are_used_again(upstream: FakeUpstream) -> None:
    backend = policy(upstream)
    async with started(backend):
        for _ in range(5):
            await read(backend.stream(chat(), Trace()), [])
            await draw(backend, chat(), [0])
            await draw(backend, chat(), [0], count_tokens=True)
        # A probe has one of its own, which it closes.
        await until(lambda: upstream.connections == 1)
