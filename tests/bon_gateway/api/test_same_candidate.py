"""The strategy never changes what a candidate is.

One output of the engine reaches the client as the same message under every strategy, streamed or
whole, whatever feature of the API is used. Where vLLM itself has two forms for one output (its
parsers read streams by other code), the whole form is the right one, and the fake's stream says
something else, so that whoever streams to count is caught.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import httpx
import orjson
import pytest

from bon_gateway.assemble import Assembly
from bon_gateway.backends.policy.vllm.wire import clean_message
from bon_gateway.testing.fakes import FakePolicy, FakeReward
from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import Delta
from tests.bon_gateway.api.conftest import Served, Setup, serving
from tests.bon_gateway.backends.support import policy
from tests.waiting import until

ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        },
    },
}
NAMED = {"type": "function", "function": {"name": "add"}}


def call(arguments: str, name: str = "c1") -> dict[str, Any]:
    return {"id": name, "type": "function", "function": {"name": "add", "arguments": arguments}}


TWO_CALLS = (call('{"a": 1, "b": 2}'), call('{"a": 3, "b": 4}', "c2"))
LOST = Step(tool_calls=(call("{{}"),))
"""The same calls as a parser garbles them that is fed 16 tokens at a time."""
CALLS = Step(tool_calls=TWO_CALLS, streamed=LOST)
REASONS = {"completion_tokens_details": {"reasoning_tokens": 2}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
IN_JSON = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}


@dataclass(frozen=True)
class Feature:
    step: Step = field(default_factory=lambda: Step(tokens=37))
    request: dict[str, Any] = field(default_factory=dict)
    one_form: bool = True
    """Whether vLLM says the same in a stream."""
    refused_streamed: bool = False
    """Whether vLLM refuses it in a stream."""


FEATURES = {
    "plain": Feature(),
    "cut by max_tokens": Feature(request={"max_tokens": 20}),
    "logprobs": Feature(request={"logprobs": True, "top_logprobs": 2}),
    "no alternatives": Feature(request={"logprobs": True, "top_logprobs": 0}),
    "token ids": Feature(request={"return_token_ids": True}),
    "prompt text": Feature(request={"return_prompt_text": True, "return_token_ids": True}),
    "both, one token": Feature(Step(tokens=1), {"logprobs": True, "return_token_ids": True}),
    "json": Feature(Step(text='{"a": 1}'), {"response_format": IN_JSON}),
    "structured outputs": Feature(Step(text='{"a": 1}'), {"structured_outputs": {"json": SCHEMA}}),
    "prompt logprobs": Feature(request={"prompt_logprobs": 0}, refused_streamed=True),
    "echo": Feature(
        Step(text="before after", streamed=Step(text="after")), {"echo": True}, one_form=False
    ),
    "tools, auto": Feature(CALLS, {"tools": [ADD]}, one_form=False),
    "tools, required": Feature(CALLS, {"tools": [ADD], "tool_choice": "required"}, one_form=False),
    "tools, named": Feature(CALLS, {"tools": [ADD], "tool_choice": NAMED}, one_form=False),
    "tools, none called": Feature(
        Step(text="no call", streamed=LOST), {"tools": [ADD]}, one_form=False
    ),
    "tools, none": Feature(Step(text="a text"), {"tools": [ADD], "tool_choice": "none"}),
    "reasoning": Feature(
        Step(
            text="so it is",
            reasoning="hm",
            usage_details=REASONS,
            streamed=Step(text="so it is", reasoning="<think>hm", usage_details=REASONS),
        ),
        one_form=False,
    ),
    "reasoning that was not marked": Feature(
        Step(text="5", usage_details=REASONS, streamed=Step(reasoning="5", text=" ")),
        one_form=False,
    ),
    "reasoning that is hidden": Feature(
        Step(text="so", streamed=Step(text=" so")), {"include_reasoning": False}, one_form=False
    ),
}

STRATEGIES: dict[str, dict[str, Any]] = {
    "best_of_n": {"bon": {"strategy": "best_of_n", "n": 3}},
    "first_k": {"bon": {"strategy": "first_k", "n": 2, "spare": 1}},
    "deadline": {"bon": {"strategy": "best_of_n", "n": 3, "deadline_ms": 60_000}},
    "confidence": {"bon": {"strategy": "confidence", "n": 1}},
    "confidence by alternatives": {"bon": {"strategy": "borda", "n": 1}},
    "the same, deadline": {"bon": {"strategy": "borda", "n": 1, "deadline_ms": 60_000}},
    "single": {"bon": {"strategy": "single"}},
    "single, deadline": {"bon": {"strategy": "single", "deadline_ms": 60_000}},
}


@asynccontextmanager
async def gateway(upstream: FakeUpstream, fan_out: str) -> AsyncIterator[Served]:
    backend = policy(upstream, fan_out=fan_out)
    setup = Setup(policy=cast(FakePolicy, backend), reward=FakeReward(rule=lambda message: 0.0))
    async with serving(setup) as served:
        await until(backend.ready)
        yield served


def body_of(feature: Feature) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hi"}], "seed": 7, **feature.request}


async def engine(upstream: FakeUpstream, feature: Feature) -> dict[str, Any]:
    """What vLLM itself answers, whole; null fields that openai's schema does not have left out."""
    async with httpx.AsyncClient(verify=False) as http:
        response = await http.post(
            f"{upstream.url.rstrip(chr(47))}/v1/chat/completions", json=body_of(feature)
        )
    answer: dict[str, Any] = response.json()
    answer["choices"][0]["message"] = clean_message(answer["choices"][0]["message"])
    return answer


async def streamed(served: Served, body: dict[str, Any]) -> dict[str, Any]:
    """The client's chunks put together, as an answer."""
    assembly = Assembly()
    response = await served.chat(model="best", stream=True, **body)
    assert response.status_code == 200, response.text
    for line in response.text.splitlines():
        if line.startswith("data: {"):
            chunk = orjson.loads(line[6:])
            beside = {k: chunk[k] for k in chunk if k.startswith(("prompt_", "system_"))}
            for choice in chunk["choices"] or (None,):
                assembly.add(Delta(choice, extra=beside))
    completion = assembly.completion()
    return {
        "choices": [
            {
                "message": clean_message(completion.message),
                "finish_reason": completion.finish_reason,
                "logprobs": completion.logprobs,
                **completion.extra,
            }
        ],
        **completion.response_extra,
    }


def seen(answer: dict[str, Any]) -> dict[str, Any]:
    """What a client can see of a candidate."""
    choice = answer["choices"][0]
    return {
        **{name: choice.get(name) for name in ("message", "finish_reason", "logprobs")},
        **{name: choice.get(name) for name in ("stop_reason", "token_ids")},
        **{name: answer.get(name) for name in ("prompt_token_ids", "prompt_logprobs")},
        "prompt_text": answer.get("prompt_text"),
    }


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("fan_out", ["separate", "together"])
async def test_a_candidate_is_the_same_under_every_strategy(feature: str, fan_out: str) -> None:
    case = FEATURES[feature]
    async with (
        FakeUpstream(lambda request: case.step) as upstream,
        gateway(upstream, fan_out) as served,
    ):
        right = seen(await engine(upstream, case))
        for name, strategy in STRATEGIES.items():
            response = await served.chat(model="best", **body_of(case), **strategy)
            assert response.status_code == 200, (name, response.text)
            assert seen(response.json()) == right, name
            if strategy["bon"]["strategy"] != "single":
                answer = await streamed(served, {**body_of(case), **strategy})
                assert seen(answer) == right, f"{name}, streamed"


@pytest.mark.parametrize("feature", FEATURES)
async def test_single_streams_what_vllm_streams(feature: str) -> None:
    case = FEATURES[feature]
    strategy = STRATEGIES["single"]
    async with (
        FakeUpstream(lambda request: case.step) as upstream,
        gateway(upstream, "together") as served,
    ):
        if case.refused_streamed:
            response = await served.chat(model="best", stream=True, **body_of(case), **strategy)
            assert response.status_code == 400
            return
        form = case if case.step.streamed is None else Feature(case.step.streamed, case.request)
        answer = seen(await streamed(served, {**body_of(case), **strategy}))
        right = seen(await engine(upstream, case))
        assert (answer == right) is case.one_form
        async with FakeUpstream(lambda request: form.step) as other:
            whole = seen(await engine(other, form))
        # What vLLM has to say of the prompt's tokens it says in no stream.
        assert answer == whole | {"prompt_logprobs": None}


async def test_a_whole_answer_is_asked_for_candidate_by_candidate() -> None:
    """So that each can still be stopped alone."""
    case, asked = FEATURES["tools, auto"], list[Mapping[str, Any]]()
    all_there = asyncio.Event()

    def held(call: Call) -> Step:
        # Two answers end the draw, and a third candidate might not have been asked for by then.
        asked.append(call.body)
        if len(asked) == 3:
            all_there.set()
        return replace(case.step, hold=all_there)

    async with FakeUpstream() as upstream, gateway(upstream, "together") as served:
        upstream.script = held
        await served.chat(model="best", **body_of(case), **STRATEGIES["first_k"])
    assert [(body["n"], body.get("stream")) for body in asked] == [(1, None)] * 3


async def test_without_such_features_candidates_are_counted_on_the_way() -> None:
    async with (
        FakeUpstream() as upstream,
        gateway(upstream, "together") as served,
    ):
        upstream.calls.clear()
        await served.chat(model="best", **body_of(Feature()), **STRATEGIES["first_k"])
        assert [request.body.get("stream") for request in upstream.calls] == [True]
