"""Every field of an upstream's answer may hold any JSON.

A broken candidate is a failed candidate: the good ones win, and where none is good the answer is
502 with OpenAI's error object, never 500. A stream that has begun ends with an error event.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any, cast

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bon_gateway.testing.fakes import FakePolicy, FakeReward
from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.api.conftest import Served, Setup, serving
from tests.bon_gateway.backends.support import policy
from tests.waiting import until

TOKEN = {"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
USAGE = {
    "prompt_tokens": 2,
    "completion_tokens": 3,
    "total_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 1},
}
CHOICE = {
    "index": 0,
    "message": {"role": "assistant", "content": "good", "reasoning": None, "tool_calls": [CALL]},
    "finish_reason": "stop",
    "stop_reason": None,
    "token_ids": [1],
    "logprobs": {"content": [TOKEN]},
}
ANSWER = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "fake",
    "choices": [CHOICE],
    "usage": USAGE,
    "system_fingerprint": "f",
    "prompt_logprobs": None,
    "prompt_token_ids": None,
}
CHUNK = {
    "id": "x",
    "object": "chat.completion.chunk",
    "choices": [
        {
            "index": 0,
            "delta": {"role": "assistant", "content": "a", "tool_calls": [{"index": 0, **CALL}]},
            "logprobs": {"content": [TOKEN]},
            "finish_reason": None,
            "token_ids": [1],
        }
    ],
    "usage": USAGE,
    "prompt_token_ids": None,
}
END = {"choices": [{"index": 0, "delta": {"content": "b"}, "finish_reason": "stop"}]}

Path = tuple[str | int, ...]


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every place of ``value``."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from paths(inner, (*path, key))


def put(value: dict[str, Any], path: Path, new: Any) -> dict[str, Any]:
    changed = deepcopy(value)
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = new
    return changed


def deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


ODD = st.sampled_from(
    [
        None, True, 5, -1, 0, 0.0, 1.5, 1 << 63, "", "x", [], [0], [1], [None], {}, {"x": 1},
        deep(100), deep(250), deep(900), [{"function": 1}], [{"index": []}], ["x"], {"content": 5},
    ]
)  # fmt: skip
JSON = ODD | st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=6), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@asynccontextmanager
async def gateway() -> AsyncIterator[tuple[Served, FakeUpstream]]:
    async with FakeUpstream() as upstream:
        backend = policy(upstream, failures_to_eject=1_000_000)
        setup = Setup(policy=cast(FakePolicy, backend), reward=FakeReward(rule=lambda m: 0.0))
        async with serving(setup) as served:
            await until(backend.ready)
            yield served, upstream


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[asyncio.Runner, Served, FakeUpstream]]:
    """One gateway for all examples, on a loop of its own: hypothesis calls without one."""
    with asyncio.Runner() as runner:
        context = gateway()
        served, upstream = runner.run(context.__aenter__())
        yield runner, served, upstream
        runner.run(context.__aexit__(None, None, None))


def check_failure(response: httpx.Response) -> None:
    assert response.status_code == 502, response.text
    error = response.json()["error"]
    assert {"message", "type", "code"} <= set(error)


quick = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@quick
@given(st.sampled_from(sorted(paths(ANSWER), key=str)), JSON)
@example(("choices", 0, "message", "tool_calls"), "text")
@example(("choices", 0, "message", "tool_calls"), {})
@example(("choices", 0, "message", "tool_calls"), [1])
@example(("choices", 0, "message", "tool_calls"), [None])
@example(("choices", 0, "index"), [0])
@example(("choices", 0, "index"), 0.0)
@example(("usage", "completion_tokens"), -1)
@example(("usage", "completion_tokens"), 1 << 63)
@example(("choices", 0, "stop_reason"), deep(250))
@example(("prompt_logprobs",), deep(250))
@example(("choices", 0, "message", "tool_calls", 0, "function", "arguments"), {"a": 1})
def test_any_json_at_any_place_of_a_whole_answer(
    running: tuple[asyncio.Runner, Served, FakeUpstream], path: Path, value: Any
) -> None:
    runner, served, upstream = running
    broken = Step(raw=orjson.dumps(put(ANSWER, path, value), default=str)) if _writable(
        put(ANSWER, path, value)
    ) else Step(raw=_loose(put(ANSWER, path, value)))  # fmt: skip
    good = Step(raw=orjson.dumps(ANSWER))

    def first_is_broken(call: Call) -> Step:
        return broken if call.candidate == 0 else good

    upstream.script = first_is_broken
    some = runner.run(served.chat(logprobs=True, bon={"n": 3}))
    assert some.status_code == 200, some.text
    upstream.script = lambda call: broken
    for body in ({"bon": {"n": 2}}, {"model": "one"}):
        response = runner.run(served.chat(**body))
        if response.status_code != 200:
            check_failure(response)


@quick
@given(st.sampled_from(sorted(paths(CHUNK), key=str)), JSON)
@example(("choices", 0, "token_ids"), 5)
@example(("choices", 0, "logprobs", "content"), 5)
@example(("choices", 0, "delta"), None)
@example(("choices", 0, "delta", "tool_calls", 0, "function"), None)
@example(("choices", 0, "delta", "tool_calls", 0, "index"), "x")
@example(("choices", 0, "index"), [0])
@example(("choices", 0, "token_ids"), deep(250))
def test_any_json_at_any_place_of_a_chunk(
    running: tuple[asyncio.Runner, Served, FakeUpstream], path: Path, value: Any
) -> None:
    runner, served, upstream = running
    events = [CHUNK, put(CHUNK, path, value), END]
    raw = b"".join(b"data: %b\n\n" % _loose(event) for event in events) + b"data: [DONE]\n\n"
    upstream.script = lambda call: Step(raw=raw)
    counted = runner.run(served.chat(bon={"strategy": "first_k", "n": 1, "spare": 1}))
    if counted.status_code != 200:
        check_failure(counted)
    streamed = runner.run(served.chat(model="one", stream=True))
    assert streamed.status_code == 200, streamed.text
    events_seen = [line for line in streamed.text.splitlines() if line.startswith("data: ")]
    assert events_seen[-1] == "data: [DONE]" or "error" in orjson.loads(events_seen[-1][6:])


def _writable(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def _loose(value: Any) -> bytes:
    """JSON that may be deeper than orjson writes."""

    return json.dumps(value).encode()


@pytest.mark.parametrize("bad", [b"NaN", b"1e999", b'"\\ud800"'])
async def test_one_bad_value_costs_its_own_choice_only(bad: bytes) -> None:
    """Four choices of one request, one of them with what JSON does not have: it alone is drawn
    again, apart."""
    choices = b",".join(
        b'{"index": %d, "message": {"role": "assistant", "content": "answer %d"},'
        b' "finish_reason": "stop", "logprobs": {"content": [{"token": "x", "logprob": %b}]}}'
        % (place, place, bad if place == 2 else b"-1.0")
        for place in range(4)
    )
    raw = b'{"choices": [%b], "usage": {"prompt_tokens": 2, "completion_tokens": 8}}' % choices
    async with FakeUpstream() as upstream:
        backend = policy(upstream, fan_out="together")
        setup = Setup(policy=cast(FakePolicy, backend))
        async with serving(setup) as served:
            await until(backend.ready)
            upstream.script = lambda call: (
                Step(raw=raw) if call.body["n"] == 4 else Step(text="drawn apart")
            )
            upstream.calls.clear()
            response = await served.chat(logprobs=True, bon={"n": 4, "return_candidates": True})
    assert response.status_code == 200, response.text
    said = [c["message"]["content"] for c in response.json()["bon"]["candidates"]]
    assert said == ["answer 0", "answer 1", "drawn apart", "answer 3"]
    assert [call.body["n"] for call in upstream.calls] == [4, 1]


async def test_an_upstream_that_ignores_n_is_asked_apart_and_named_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with FakeUpstream() as upstream:
        backend = policy(upstream, fan_out="together")
        async with serving(Setup(policy=cast(FakePolicy, backend))) as served:
            await until(backend.ready)
            upstream.script = lambda call: Step(raw=orjson.dumps(ANSWER))
            for _ in range(2):
                response = await served.chat(bon={"n": 4})
                assert response.status_code == 200, response.text
                assert response.json()["bon"]["degraded"] is None
    hints = [r for r in caplog.records if "ignores n" in r.getMessage()]
    assert len(hints) == 1
    assert [call.body["n"] for call in upstream.calls[-4:]] == [1] * 4


async def test_usage_details_are_summed_and_the_prompts_once() -> None:
    step = Step(
        usage_details={
            "prompt_tokens_details": {"cached_tokens": 1},
            "completion_tokens_details": {"reasoning_tokens": 2},
        }
    )
    for fan_out, reasoning in (("separate", 6), ("together", 2)):
        async with FakeUpstream(lambda call: step) as upstream:
            backend = policy(upstream, fan_out=fan_out)
            async with serving(Setup(policy=cast(FakePolicy, backend))) as served:
                await until(backend.ready)
                drawn = (await served.chat(bon={"n": 3})).json()["usage"]
                one = (await served.chat(model="one")).json()["usage"]
                streamed = await served.chat(
                    model="one", stream=True, stream_options={"include_usage": True}
                )
        assert drawn["prompt_tokens_details"] == {"cached_tokens": 1}
        assert drawn["completion_tokens_details"] == {"reasoning_tokens": reasoning}
        assert one["completion_tokens_details"] == {"reasoning_tokens": 2}
        last = orjson.loads(streamed.text.splitlines()[-4].removeprefix("data: "))
        assert last["usage"]["completion_tokens_details"] == {"reasoning_tokens": 2}
        assert last["usage"]["prompt_tokens_details"] == {"cached_tokens": 1}


async def test_what_vllm_always_sends_is_kept() -> None:
    async with FakeUpstream() as upstream:
        backend = policy(upstream)
        async with serving(Setup(policy=cast(FakePolicy, backend))) as served:
            await until(backend.ready)
            for model in ("best", "first", "one"):
                answer = (await served.chat(model=model)).json()
                assert answer["choices"][0]["message"]["reasoning"] is None
                assert answer["choices"][0]["stop_reason"] is None
                assert answer["choices"][0]["token_ids"] is None
                assert answer["prompt_logprobs"] is None
                assert answer["prompt_token_ids"] is None
                assert answer["system_fingerprint"] == "vllm-fake"
