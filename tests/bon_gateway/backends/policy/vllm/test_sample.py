"""VllmPolicy.sample: what is asked of vLLM, and what becomes of its answers."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from bon_gateway.errors import GatewayError
from bon_gateway.protocols import Trace
from bon_gateway.testing.script import Step, by_candidate, fake_tokens
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import ChatRequest, Completion
from tests.bon_gateway.backends.support import (
    after_warm_up,
    chat,
    draw,
    drawing,
    policy,
    started,
    text,
)

PATHS = [("separate", False), ("separate", True), ("together", False), ("together", True)]
paths = pytest.mark.parametrize(("fan_out", "count_tokens"), PATHS)

TOOL_CALLS = [
    {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}},
    {"id": "c2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
]

ALWAYS = {
    "service_tier": None,
    "prompt_logprobs": None,
    "prompt_token_ids": None,
    "prompt_text": None,
    "kv_transfer_params": None,
    "ec_transfer_params": None,
    "metrics": None,
    "system_fingerprint": "vllm-fake",
}
"""What stands beside the choices, whatever was asked."""


def expected(seed: int, count: int = 12) -> str:
    return "".join(fake_tokens(seed, count))


@paths
async def test_candidate_i_is_drawn_with_seed_plus_i(
    upstream: FakeUpstream, fan_out: str, count_tokens: bool
) -> None:
    backend = policy(upstream, fan_out=fan_out)
    async with started(backend):
        outcomes = await draw(backend, chat(seed=7), range(4), count_tokens=count_tokens)
    assert {i: text(outcome) for i, outcome in outcomes.items()} == {
        i: expected(7 + i) for i in range(4)
    }


@pytest.mark.parametrize(
    ("fan_out", "indices", "requests"),
    [
        ("separate", [0, 1, 2], 3),
        ("together", [0, 1, 2], 1),
        ("together", [2, 3], 1),
        ("together", [0, 2], 2),
        ("together", [1, 0], 2),
    ],
)
async def test_one_request_only_where_its_seeds_fit(
    upstream: FakeUpstream, fan_out: str, indices: list[int], requests: int
) -> None:
    backend = policy(upstream, fan_out=fan_out)
    async with started(backend):
        upstream.requests = 0
        outcomes = await draw(backend, chat(seed=7), indices)
    assert upstream.requests == requests
    assert {i: text(outcome) for i, outcome in outcomes.items()} == {
        i: expected(7 + i) for i in indices
    }


@pytest.mark.parametrize("fan_out", ["separate", "together"])
@pytest.mark.parametrize("seed", [2**63 - 2, -3, -(2**63)])
async def test_every_seed_that_vllm_is_sent_is_one_that_it_takes(
    upstream: FakeUpstream, fan_out: str, seed: int
) -> None:
    backend = policy(upstream, fan_out=fan_out)
    async with started(backend):
        after_warm_up(upstream, Step())
        await draw(backend, chat(seed=seed), range(4))
    drawn = [
        call.body["seed"] + place
        for call in upstream.calls
        for place in range(call.body.get("n") or 1)
    ]
    assert len(set(drawn)) == 4
    assert all(-(2**63) <= one < 2**63 and one != -1 for one in drawn)


async def test_the_trace_names_the_replicas(upstream: FakeUpstream) -> None:
    backend, trace = policy(upstream), Trace()
    async with started(backend):
        await draw(backend, chat(), range(2), trace=trace)
        async for _ in backend.stream(chat(), trace):
            pass
    assert trace.replicas == [f"127.0.0.1:{upstream.port}"] * 2


async def test_without_a_seed_any_indices_go_in_one_request(upstream: FakeUpstream) -> None:
    backend = policy(upstream, fan_out="together")
    async with started(backend):
        upstream.requests = 0
        outcomes = await draw(backend, chat(seed=None), [5, 2])
    assert upstream.requests == 1
    assert "seed" not in upstream.calls[-1].body
    assert text(outcomes[5]) != text(outcomes[2])


@paths
async def test_everything_the_client_sent_reaches_vllm(
    upstream: FakeUpstream, fan_out: str, count_tokens: bool
) -> None:
    sampling: dict[str, Any] = {"temperature": 0.3, "top_k": 7, "min_p": 0.1}
    sampling |= {"bad_words": ["x"], "own": {"a": [1]}}
    backend = policy(upstream, fan_out=fan_out)
    async with started(backend):
        await draw(backend, chat(request_id="abc", **sampling), [3], count_tokens=count_tokens)
    call = upstream.calls[-1]
    assert {name: call.body[name] for name in sampling} == sampling
    assert call.body["model"] == upstream.model
    assert call.body["n"] == 1
    assert call.headers["x-request-id"] == "abc-3"


async def test_configured_model_name_is_sent(upstream: FakeUpstream) -> None:
    upstream.model = "org/served-name"
    backend = policy(upstream, model="org/served-name")
    async with started(backend):
        await draw(backend, chat(), [0])
    assert {call.body["model"] for call in upstream.calls} == {"org/served-name"}


@pytest.mark.parametrize(
    "sampling",
    [
        {},
        {"logprobs": True},
        {"return_token_ids": True},
        {"logprobs": True, "return_token_ids": True, "max_tokens": 5},
    ],
)
@pytest.mark.parametrize("step", [Step(), Step(reasoning="Let me think."), Step(tokens=37)])
async def test_all_ways_of_drawing_give_equal_completions(
    upstream: FakeUpstream, sampling: dict[str, Any], step: Step
) -> None:
    drawn = []
    backends = {fan_out: policy(upstream, fan_out=fan_out) for fan_out in ("separate", "together")}
    async with started(*backends.values()):
        after_warm_up(upstream, step)
        for fan_out, count_tokens in PATHS:
            outcomes = await draw(
                backends[fan_out], chat(**sampling), range(3), count_tokens=count_tokens
            )
            drawn.append([outcomes[index] for index in range(3)])
    assert all(isinstance(outcome, Completion) for outcome in drawn[0])
    assert drawn[0] == drawn[1] == drawn[2] == drawn[3]


@paths
async def test_tool_calls_are_whole(
    upstream: FakeUpstream, fan_out: str, count_tokens: bool
) -> None:
    backend = policy(upstream, fan_out=fan_out)
    async with started(backend):
        after_warm_up(upstream, Step(tool_calls=TOOL_CALLS))
        outcomes = await draw(backend, chat(), range(2), count_tokens=count_tokens)
    for outcome in outcomes.values():
        assert isinstance(outcome, Completion)
        assert outcome.finish_reason == "tool_calls"
        assert outcome.message == {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "reasoning": None,
            "tool_calls": TOOL_CALLS,
        }


@paths
async def test_nulls_are_openais_and_those_that_vllm_always_sends(
    upstream: FakeUpstream, fan_out: str, count_tokens: bool
) -> None:
    backend = policy(upstream, fan_out=fan_out)
    async with started(backend):
        outcomes = await draw(backend, chat(), [0, 1], count_tokens=count_tokens)
    for outcome in outcomes.values():
        assert isinstance(outcome, Completion)
        assert set(outcome.message) == {"role", "content", "refusal", "reasoning"}
        assert outcome.extra == {
            "stop_reason": None,
            "token_ids": None,
            "routed_experts": None,
        }
        assert outcome.response_extra == ALWAYS


@paths
async def test_counts_and_finish_reasons_are_each_candidates_own(
    upstream: FakeUpstream, fan_out: str, count_tokens: bool
) -> None:
    trace = Trace()
    backend = policy(upstream, fan_out=fan_out)
    async with started(backend):
        if fan_out == "separate":
            after_warm_up(upstream, by_candidate({0: Step(tokens=3), 1: Step(tokens=40)}))
        else:
            after_warm_up(upstream, Step(tokens=(3, 40)))
        outcomes = await draw(
            backend, chat(max_tokens=20), range(2), count_tokens=count_tokens, trace=trace
        )
    got = {
        index: (outcome.tokens, outcome.finish_reason)
        for index, outcome in outcomes.items()
        if isinstance(outcome, Completion)
    }
    assert got == {0: (3, "stop"), 1: (20, "length")}
    assert trace.tokens == {0: 3, 1: 20}


async def test_where_token_ids_are_withheld_the_sum_is_still_true(upstream: FakeUpstream) -> None:
    """vLLM keeps them back while it hides reasoning."""
    message = {"role": "assistant", "content": "x"}
    choices = [{"index": i, "message": message, "finish_reason": "stop"} for i in range(3)]
    usage = {"prompt_tokens": 1, "completion_tokens": 10}
    backend = policy(upstream, fan_out="together")
    async with started(backend):
        after_warm_up(upstream, Step(raw=orjson.dumps({"choices": choices, "usage": usage})))
        outcomes = await draw(backend, chat(), range(3))
    tokens = [outcome.tokens for outcome in outcomes.values() if isinstance(outcome, Completion)]
    assert sorted(tokens) == [3, 3, 4]


async def test_token_ids_that_only_the_gateway_asked_for_are_taken_out(
    upstream: FakeUpstream,
) -> None:
    backend = policy(upstream, fan_out="together")
    async with started(backend):
        outcomes = await draw(backend, chat(max_tokens=4), range(2))
        asked = upstream.calls[-1].body["return_token_ids"]
        kept = await draw(backend, chat(return_token_ids=True), range(2))
    assert asked is True
    for outcome in outcomes.values():
        assert isinstance(outcome, Completion)
        assert outcome.tokens == 4
        assert outcome.extra["token_ids"] is None
        assert outcome.response_extra["prompt_token_ids"] is None
    for outcome in kept.values():
        assert isinstance(outcome, Completion)
        assert len(outcome.extra["token_ids"]) == 12
        assert outcome.response_extra["prompt_token_ids"]


async def test_streams_only_to_count_and_then_in_steps(upstream: FakeUpstream) -> None:
    backend = policy(upstream)
    async with started(backend):
        await draw(backend, chat(), [0])
        plain = upstream.calls[-1].body
        await draw(backend, chat(), [0], count_tokens=True)
        counted = upstream.calls[-1].body
        await draw(backend, chat(stream_interval=3), [0], count_tokens=True)
        chosen = upstream.calls[-1].body
    assert "stream" not in plain
    assert "stream_interval" not in plain
    assert counted["stream"] is True
    assert counted["stream_interval"] == 16
    assert counted["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert chosen["stream_interval"] == 3


async def test_what_vllm_cannot_stream_is_asked_for_whole(upstream: FakeUpstream) -> None:
    backend = policy(upstream)
    async with started(backend):
        outcomes = await draw(backend, chat(prompt_logprobs=1), [0], count_tokens=True)
    assert isinstance(outcomes[0], Completion), repr(outcomes[0])
    assert outcomes[0].response_extra == {**ALWAYS, "prompt_logprobs": [{"0": None}]}


async def test_each_candidate_is_yielded_as_it_finishes(upstream: FakeUpstream) -> None:
    gate = asyncio.Event()
    backend = policy(upstream)
    async with started(backend):
        after_warm_up(upstream, by_candidate({0: Step(hold=gate)}))
        order = []
        async with drawing(backend, chat(), range(3)) as arrived:
            for number in range(3):
                if number == 2:
                    gate.set()
                order.append((await arrived.get()).index)
    assert set(order[:2]) == {1, 2}
    assert order[2] == 0


async def test_a_large_prompt_is_sent(upstream: FakeUpstream) -> None:
    backend = policy(upstream)
    request = ChatRequest(
        messages=[{"role": "user", "content": "x" * (3 << 20)}],
        sampling={},
        seed=1,
        top=1,
        request_id="big",
    )
    async with started(backend):
        outcomes = await draw(backend, request, [0])
    assert text(outcomes[0]) == expected(1)
    assert len(upstream.calls[-1].body["messages"][0]["content"]) == 3 << 20


@pytest.mark.parametrize("value", ["\ud800", 1 << 70])
async def test_a_value_without_json_is_the_clients_fault(
    upstream: FakeUpstream, value: object
) -> None:
    backend = policy(upstream)
    async with started(backend):
        upstream.requests = 0
        outcomes = await draw(backend, chat(odd=value), range(2))
    assert upstream.requests == 0
    for outcome in outcomes.values():
        assert isinstance(outcome, GatewayError)
        assert outcome.status == 400


async def test_no_indices_no_request(upstream: FakeUpstream) -> None:
    backend = policy(upstream)
    async with started(backend):
        upstream.requests = 0
        assert await draw(backend, chat(), []) == {}
    assert upstream.requests == 0


@paths
async def test_every_call_for_one_request_bears_its_session(
    upstream: FakeUpstream, fan_out: str, count_tokens: bool
) -> None:
    backend = policy(upstream, fan_out=fan_out, session_header="X-Session-Id")
    async with started(backend):
        after_warm_up(upstream, by_candidate({1: Step(status=500, error="boom")}))
        await draw(backend, chat(request_id="abc"), range(3), count_tokens=count_tokens)
        await draw(backend, chat(request_id="abc"), [1], count_tokens=count_tokens)
        await draw(backend, chat(request_id="xyz"), [0], count_tokens=count_tokens)
    sessions = [call.headers["x-session-id"] for call in upstream.calls]
    assert sessions == ["abc"] * (len(sessions) - 1) + ["xyz"]


async def test_without_a_session_header_none_is_sent(upstream: FakeUpstream) -> None:
    backend = policy(upstream)
    async with started(backend):
        await draw(backend, chat(request_id="abc"), range(2))
    assert all("abc" not in call.headers.values() for call in upstream.calls)


async def test_every_call_carries_the_trace(upstream: FakeUpstream) -> None:
    trace = {"traceparent": "00-1-2-01", "tracestate": "a=1", "baggage": "b=1"}
    backend = policy(upstream)
    request = replace(chat(request_id="mine"), trace=trace)
    async with started(backend):
        after_warm_up(upstream, Step())
        await draw(backend, request, range(2))
        async for _ in backend.stream(request, Trace()):
            pass
    assert sorted(call.headers["x-request-id"] for call in upstream.calls) == [
        "mine-0", "mine-0", "mine-1",
    ]  # fmt: skip
    for call in upstream.calls:
        assert {name: call.headers.get(name) for name in trace} == trace
