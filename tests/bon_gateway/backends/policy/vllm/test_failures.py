"""VllmPolicy.sample when things go wrong: each failure is one candidate's outcome."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import orjson
import pytest

from bon_gateway.errors import (
    GatewayError,
    PolicyFailedError,
    PolicyOverloadedError,
    PolicyRefusedError,
    PolicyTimeoutError,
    PolicyUnreachableError,
)
from bon_gateway.protocols import Trace
from bon_gateway.strategies.draw import Draw, Plan
from bon_gateway.strategies.validity import AnswerCheck
from bon_gateway.testing.script import Call, Step, by_candidate
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import Completion
from tests.bon_gateway.backends.support import (
    PROMPT,
    SECRET,
    after_warm_up,
    chat,
    draw,
    drawing,
    policy,
    started,
)
from tests.waiting import until

paths = pytest.mark.parametrize(
    ("fan_out", "count_tokens"),
    [("separate", False), ("separate", True), ("together", False), ("together", True)],
)
ways = pytest.mark.parametrize("count_tokens", [False, True])


async def one_error(upstream: FakeUpstream, step: Step, *, count_tokens: bool) -> GatewayError:
    backend = policy(upstream, failures_to_eject=100)
    async with started(backend):
        after_warm_up(upstream, step)
        outcomes = await draw(backend, chat(), [0], count_tokens=count_tokens)
    error = outcomes[0]
    assert isinstance(error, GatewayError)
    return error


@ways
async def test_one_failing_candidate_does_not_harm_the_others(
    upstream: FakeUpstream, count_tokens: bool
) -> None:
    backend = policy(upstream)
    async with started(backend):
        after_warm_up(upstream, by_candidate({1: Step(status=500, error="boom")}))
        outcomes = await draw(backend, chat(), range(4), count_tokens=count_tokens)
    assert isinstance(outcomes[1], PolicyFailedError)
    assert all(isinstance(outcomes[index], Completion) for index in (0, 2, 3))


@pytest.mark.parametrize("code", [f"{PROMPT} is too long", "x" * 61, "", "a b"])
async def test_a_code_that_may_quote_the_prompt_is_not_passed_on(
    upstream: FakeUpstream, code: str
) -> None:
    backend = policy(upstream)
    async with started(backend):
        after_warm_up(upstream, Step(status=400, error={"message": "no", "code": code}))
        error = (await draw(backend, chat(), [0]))[0]
        assert isinstance(error, PolicyRefusedError)
        assert (error.message, error.code) == ("no", "upstream_refused")


@paths
async def test_a_refusal_passes_through(
    upstream: FakeUpstream, fan_out: str, count_tokens: bool
) -> None:
    backend = policy(upstream, fan_out=fan_out, failures_to_eject=1)
    async with started(backend):
        outcomes = await draw(backend, chat(temperature=-1), range(2), count_tokens=count_tokens)
        assert backend.ready()
    for error in outcomes.values():
        assert isinstance(error, PolicyRefusedError)
        assert (error.status, error.param, error.code) == (400, "temperature", "400")
        assert error.message == "temperature must be non-negative"
        assert not error.retryable


async def test_a_refusal_inside_a_stream_passes_through(upstream: FakeUpstream) -> None:
    event = {"message": "too many", "type": "BadRequestError", "param": "logprobs", "code": 400}
    error = await one_error(upstream, Step(stream_error=event), count_tokens=True)
    assert isinstance(error, PolicyRefusedError)
    assert (error.status, error.param, error.message) == (400, "logprobs", "too many")


@ways
@pytest.mark.parametrize(
    ("step", "kind", "code"),
    [
        (Step(status=401, error="Unauthorized"), PolicyFailedError, "upstream_error"),
        (Step(status=403, error="no"), PolicyFailedError, "upstream_error"),
        (Step(status=404, error={"message": "no model"}), PolicyFailedError, "upstream_error"),
        (Step(status=302, headers={"location": "/v1/models"}), PolicyFailedError, "upstream_error"),
        (Step(status=500, error={"message": "x"}), PolicyFailedError, "upstream_error"),
        (Step(status=502, raw=b"<html>"), PolicyFailedError, "upstream_error"),
        (Step(status=429, error="slow"), PolicyOverloadedError, "upstream_overloaded"),
        (Step(status=503, error="full"), PolicyOverloadedError, "upstream_overloaded"),
        (Step(status=422, raw=b"not json"), PolicyRefusedError, "upstream_refused"),
        (Step(status=400, raw=b"[1]"), PolicyRefusedError, "upstream_refused"),
        (Step(cut_after=0), PolicyUnreachableError, "upstream_unavailable"),
        (Step(cut_after=5), PolicyFailedError, "upstream_error"),
        (Step(raw=b"{"), PolicyFailedError, "upstream_error"),
        (Step(raw=b"[]"), PolicyFailedError, "upstream_error"),
        (Step(raw=b"{}"), PolicyFailedError, "upstream_error"),
        (Step(finish_reason="abort"), PolicyFailedError, "upstream_error"),
        (Step(finish_reason=""), PolicyFailedError, "upstream_error"),
    ],
)
async def test_every_failure_has_its_error(
    upstream: FakeUpstream, step: Step, kind: type[GatewayError], code: str, count_tokens: bool
) -> None:
    error = await one_error(upstream, step, count_tokens=count_tokens)
    assert type(error) is kind
    assert error.code == code


@pytest.mark.parametrize(
    "broken",
    [
        {"choices": [{"index": 0, "finish_reason": "stop"}]},
        {"choices": ["x"]},
        {"choices": [{"index": 0, "message": "x", "finish_reason": "stop"}]},
        {"choices": []},
        {"usage": None},
        {"usage": {"prompt_tokens": "1", "completion_tokens": 2}},
    ],
)
async def test_a_whole_answer_of_the_wrong_shape_is_a_failure(
    upstream: FakeUpstream, broken: dict[str, Any]
) -> None:
    message = {"role": "assistant", "content": "x"}
    answer = {
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
        **broken,
    }
    error = await one_error(upstream, Step(raw=orjson.dumps(answer)), count_tokens=False)
    assert type(error) is PolicyFailedError


@pytest.mark.parametrize(
    "chunk",
    [
        b'{"choices": [{"index": 0, "delta": "x"}]}',
        b'{"choices": [{"index": 0}]}',
        b'{"choices": [{"index": 0, "delta": {"tool_calls": ["x"]}}]}',
        b'{"choices": [{"index": 0, "delta": {}, "logprobs": 1}]}',
        b'{"choices": 1}',
        b'{"choices": [], "usage": {"prompt_tokens": 1}}',
        b"nonsense",
        b'{"error": "bad"}',
    ],
)
async def test_a_chunk_of_the_wrong_shape_is_a_failure(
    upstream: FakeUpstream, chunk: bytes
) -> None:
    raw = b"data: %b\n\ndata: [DONE]\n\n" % chunk
    error = await one_error(upstream, Step(raw=raw), count_tokens=True)
    assert type(error) is PolicyFailedError


async def test_a_stream_without_its_end_mark_is_a_failure(upstream: FakeUpstream) -> None:
    chunk = b'{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}'
    error = await one_error(upstream, Step(raw=b"data: %b\n\n" % chunk), count_tokens=True)
    assert type(error) is PolicyFailedError
    assert "cut off" in error.message


async def test_comments_and_crlf_in_a_stream_are_no_failure(upstream: FakeUpstream) -> None:
    chunk = b'{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}]}'
    raw = b": keep-alive\r\n\r\nevent: x\r\ndata:%b\r\n\r\ndata: [DONE]\r\n\r\n" % chunk
    backend = policy(upstream)
    async with started(backend):
        after_warm_up(upstream, Step(raw=raw))
        outcomes = await draw(backend, chat(), [0], count_tokens=True)
    assert isinstance(outcomes[0], Completion), repr(outcomes[0])
    assert outcomes[0].message["content"] == "x"


@ways
async def test_retry_after_is_passed_on(upstream: FakeUpstream, count_tokens: bool) -> None:
    step = Step(status=503, error="full", headers={"retry-after": "7"})
    error = await one_error(upstream, step, count_tokens=count_tokens)
    assert error.retry_after == 7.0


@ways
async def test_a_candidate_that_takes_too_long_times_out(
    upstream: FakeUpstream, count_tokens: bool
) -> None:
    backend = policy(upstream, timeout_s=0.15)
    async with started(backend):
        after_warm_up(upstream, by_candidate({1: Step(tokens=100, hang_after=3)}))
        outcomes = await draw(backend, chat(), range(2), count_tokens=count_tokens)
        await until(lambda: upstream.aborted == 1)
    assert isinstance(outcomes[0], Completion)
    assert isinstance(outcomes[1], PolicyTimeoutError)
    assert outcomes[1].status == 504


async def test_of_one_request_cut_midway_the_finished_candidates_are_kept(
    upstream: FakeUpstream,
) -> None:
    """Candidate 0 has its finish reason before the connection is cut, candidate 1 has not."""
    whole = b'{"index":0,"delta":{"content":"done"},"finish_reason":"stop"}'
    part = b'{"index":1,"delta":{"content":"not"},"finish_reason":null}'
    usage = b'"usage":{"prompt_tokens":2,"completion_tokens":3}'
    raw = b"".join(b'data: {"choices":[%b],%b}\n\n' % (choice, usage) for choice in (part, whole))
    backend = policy(upstream, fan_out="together")
    async with started(backend):
        after_warm_up(upstream, Step(raw=raw))
        outcomes = await draw(backend, chat(), range(2), count_tokens=True)
    assert isinstance(outcomes[0], Completion)
    assert outcomes[0].message["content"] == "done"
    assert outcomes[0].tokens == 3
    assert isinstance(outcomes[1], PolicyFailedError)


@paths
async def test_closing_aborts_what_still_runs(
    upstream: FakeUpstream, fan_out: str, count_tokens: bool
) -> None:
    backend = policy(upstream, fan_out=fan_out)
    requests = 1 if fan_out == "together" else 3
    async with started(backend):
        after_warm_up(upstream, Step(tokens=100, hang_after=4))
        async with drawing(backend, chat(), range(3), count_tokens=count_tokens):
            await until(lambda: upstream.running == requests)
        await until(lambda: upstream.running == 0)
        assert upstream.aborted == requests


@ways
async def test_closing_spares_nothing_but_what_has_ended(
    upstream: FakeUpstream, count_tokens: bool
) -> None:
    backend = policy(upstream)
    async with started(backend):
        after_warm_up(
            upstream,
            by_candidate({1: Step(tokens=100, hang_after=4), 2: Step(tokens=100, hang_after=4)}),
        )
        async with drawing(backend, chat(), range(3), count_tokens=count_tokens) as arrived:
            assert (await arrived.get()).index == 0
            await until(lambda: upstream.running == 2)
        await until(lambda: upstream.running == 0)
        assert upstream.aborted == 2


@pytest.mark.parametrize("fan_out", ["separate", "together"])
async def test_tokens_of_aborted_candidates_are_known(upstream: FakeUpstream, fan_out: str) -> None:
    trace = Trace()
    backend = policy(upstream, fan_out=fan_out)
    async with started(backend):
        after_warm_up(upstream, Step(tokens=100, hang_after=34 if fan_out == "together" else 17))
        async with drawing(backend, chat(), range(2), trace=trace, count_tokens=True):
            # The first token, and then every 16.
            await until(lambda: trace.tokens == {0: 17, 1: 17})
    assert trace.tokens == {0: 17, 1: 17}


async def test_the_key_goes_to_its_upstream_and_nowhere_else(
    upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with FakeUpstream() as other:
        backend = policy(upstream, key=SECRET)
        async with started(backend):
            redirect = Step(status=307, headers={"location": f"{other.url}/v1/chat/completions"})
            after_warm_up(upstream, redirect)
            outcomes = await draw(backend, chat(), [0])
        assert other.requests == 0
    assert {call.headers["authorization"] for call in upstream.calls} == {f"Bearer {SECRET}"}
    assert SECRET not in repr(outcomes) + caplog.text


@ways
async def test_no_text_and_no_key_in_errors_or_logs(
    upstream: FakeUpstream, caplog: pytest.LogCaptureFixture, count_tokens: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = f"{PROMPT} {SECRET}"
    steps = {
        0: Step(status=500, error={"message": secret}),
        1: Step(status=500, error={"message": f"EngineCore {secret}"}),
        2: Step(status=503, error=secret),
        3: Step(raw=secret.encode()),
        4: Step(status=401, error=secret),
        5: Step(cut_after=0),
        6: Step(text=secret, cut_after=1),
    }
    backend = policy(upstream, key=SECRET)
    async with started(backend):
        after_warm_up(upstream, by_candidate(steps))
        outcomes = await draw(backend, chat(), range(len(steps)), count_tokens=count_tokens)
    errors = [outcome for outcome in outcomes.values() if isinstance(outcome, GatewayError)]
    assert len(errors) == len(steps)
    told = caplog.text + "".join(f"{error!r} {error.body()}" for error in errors)
    assert PROMPT not in told
    assert SECRET not in told


async def test_cancelling_before_anything_was_sent_leaves_nothing(upstream: FakeUpstream) -> None:
    backend = policy(upstream)
    async with started(backend):
        upstream.requests = 0
        async with drawing(backend, chat(), range(3)):
            await asyncio.sleep(0)
        await until(lambda: upstream.running == 0)
        outcomes = await draw(backend, chat(), [0])
        assert isinstance(outcomes[0], Completion)


@pytest.mark.parametrize(
    "spoilt", [rb'"logprob": NaN', rb'"content": "\ud800"'], ids=["NaN", "surrogate"]
)
async def test_one_that_spoils_the_answer_of_all_costs_only_itself(
    upstream: FakeUpstream, spoilt: bytes
) -> None:
    """No JSON holds a NaN, and no text half a character: all N of one call are lost with it, so
    that they are drawn again apart."""

    def script(call: Call) -> Step:
        seeds = range(call.body["seed"], call.body["seed"] + call.body["n"])
        return Step(raw=b'{"choices": [{%b}]}' % spoilt) if 9 in seeds else Step()

    backend = policy(upstream, fan_out="together")
    plan = Plan(4, 4, None, min_candidates=1, retries=1)
    async with started(backend):
        after_warm_up(upstream, script)
        drawn = await Draw(chat(), backend, None, plan, AnswerCheck.anything(), Trace()).run()
    assert [candidate.status.value for candidate in drawn.candidates] == [
        "finished", "finished", "failed", "finished",
    ]  # fmt: skip
    assert [call.body["n"] for call in upstream.calls] == [4, 1, 1, 1, 1]


async def test_an_upstream_that_ignores_n_is_told_of(
    upstream: FakeUpstream, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    message = {"role": "assistant", "content": "x"}
    answer = {
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
    backend = policy(upstream, fan_out="together")
    plan = Plan(4, 4, None, min_candidates=1, retries=1)
    async with started(backend):
        after_warm_up(upstream, Step(raw=orjson.dumps(answer)))
        drawn = await Draw(chat(), backend, None, plan, AnswerCheck.anything(), Trace()).run()
    assert [candidate.status.value for candidate in drawn.candidates] == ["finished"] * 4
    (line,) = (r.fields for r in caplog.records if r.getMessage() == "candidates failed")  # type: ignore[attr-defined]
    assert "1 of 4 choices" in line["reasons"][0]["reason"]
    assert "fan_out: separate" in line["reasons"][0]["reason"]
