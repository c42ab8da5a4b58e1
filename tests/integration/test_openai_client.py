"""openai-python, as its users have it, against the gateway before a real engine."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from tests.integration.conftest import FAN_OUTS, Engines
from tests.integration.gateway import Gateway
from tests.integration.patience import up_to_five_times
from tests.integration.prompts import LONG, ask

pytestmark = pytest.mark.vllm
BEST = "reward_server-separate"
TOYS = {
    "type": "object",
    "properties": {"toy": {"type": "string", "enum": ["kite", "ball"]}, "count": {"enum": [1, 2]}},
    "required": ["toy", "count"],
    "additionalProperties": False,
}
AS_JSON: Any = {"type": "json_schema", "json_schema": {"name": "toys", "schema": TOYS}}


def messages(*prompt: str) -> Any:
    """In a type that openai-python takes."""
    return ask(*prompt)


def extra(answer: openai.types.chat.ChatCompletion) -> dict[str, Any]:
    """What the answer has beside OpenAI's fields."""
    assert answer.model_extra is not None
    return answer.model_extra


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1",
        api_key="none",
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(timeout=60, verify=False),
    ) as client:
        yield client


async def test_sync_and_async_agree(gateway: Gateway, client: openai.AsyncOpenAI) -> None:
    asked: Any = {"model": BEST, "messages": ask(), "seed": 3}

    def in_a_thread() -> Any:
        with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none") as sync:
            return sync.chat.completions.create(**asked)

    one = await asyncio.to_thread(in_a_thread)
    other = await client.chat.completions.create(**asked)
    assert one.choices[0].message.content == other.choices[0].message.content
    assert one.usage == other.usage
    assert one.choices[0].finish_reason == "stop"


async def test_streaming_best_of_n(client: openai.AsyncOpenAI) -> None:
    asked: Any = {"model": BEST, "messages": ask(), "seed": 3}
    whole = await client.chat.completions.create(**asked)
    stream = await client.chat.completions.create(
        **asked, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[-1].model_extra["bon"]["reward"] == pytest.approx(
        whole.model_extra["bon"]["reward"], abs=1e-4
    )


@up_to_five_times
async def test_a_single_pass_streams_token_by_token(
    client: openai.AsyncOpenAI, engines: Engines
) -> None:
    """The first words are there long before the last."""
    body = {key: LONG[key] for key in ("messages", "seed", "max_tokens")}
    started = time.monotonic()
    stream = await client.chat.completions.create(
        model="one", stream=True, stream_options={"include_usage": True}, **body,
        extra_body={"ignore_eos": True},
    )  # fmt: skip
    arrived = []
    async for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            arrived.append(time.monotonic() - started)
        last = chunk
    assert last.usage.completion_tokens == LONG["max_tokens"]
    # Special tokens, which ignore_eos lets through, have no text; a busy vLLM joins some tokens.
    assert len(arrived) > 20
    assert arrived[0] < 0.7 * arrived[-1]


async def test_raw_response_headers(client: openai.AsyncOpenAI) -> None:
    raw = await client.chat.completions.with_raw_response.create(
        model=BEST, messages=messages(), extra_headers={"x-request-id": "mine-1"}
    )
    assert raw.headers["x-request-id"] == "mine-1"
    assert (raw.headers["x-bon-strategy"], raw.headers["x-bon-n"]) == ("best_of_n", "8")
    reward = extra(raw.parse())["bon"]["reward"]
    assert float(raw.headers["x-bon-reward"]) == pytest.approx(reward, rel=1e-4)
    assert float(raw.headers["x-bon-overhead-ms"]) >= 0


@pytest.mark.parametrize(
    "parameter", [{"top_k": 1}, {"min_p": 1.0}, {"ignore_eos": True}, {"min_tokens": 50}]
)
async def test_vllms_own_parameters_change_the_outcome(
    client: openai.AsyncOpenAI, engines: Engines, parameter: dict[str, Any]
) -> None:
    """Just as they do at vLLM."""
    asked: Any = {"messages": ask(), "seed": 3, "max_tokens": 60}
    answer = await client.chat.completions.create(
        model=BEST, **asked, extra_body={**parameter, "bon": {"return_candidates": True}}
    )
    plain = await client.chat.completions.create(
        model=BEST, **asked, extra_body={"bon": {"return_candidates": True}}
    )
    texts = [c["message"]["content"] for c in answer.model_extra["bon"]["candidates"]]
    assert texts != [c["message"]["content"] for c in plain.model_extra["bon"]["candidates"]]
    drawn = engines.generator.chat({**asked, **parameter, "n": 8})["choices"]
    assert texts == [choice["message"]["content"] for choice in drawn]
    if parameter.keys() & {"top_k", "min_p"}:
        assert len(set(texts)) == 1


@pytest.mark.parametrize("fan_out", FAN_OUTS)
async def test_the_winner_has_its_logprobs(client: openai.AsyncOpenAI, fan_out: str) -> None:
    answer = await client.chat.completions.create(
        model=f"reward_server-{fan_out}", messages=messages(), logprobs=True, top_logprobs=3
    )
    bon = extra(answer)["bon"]
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    tokens = logprobs.content
    assert tokens is not None
    assert len(tokens) == bon["candidates"][bon["winner"]]["tokens"]
    assert all(token.logprob <= 0 and len(token.top_logprobs) == 3 for token in tokens)


@pytest.mark.parametrize("fan_out", FAN_OUTS)
async def test_json_by_schema(client: openai.AsyncOpenAI, fan_out: str) -> None:
    """Guided decoding lets white space through without end, so a short limit truncates some."""
    asked: Any = {"messages": ask(), "response_format": AS_JSON, "seed": 1}
    seen = set()
    for limit in (200, 24, 20, 18, 16):
        raw = await client.chat.completions.with_raw_response.create(
            model=f"reward_server-{fan_out}", max_tokens=limit, **asked
        )
        answer = raw.parse()
        statuses = {c["status"] for c in answer.model_extra["bon"]["candidates"]}
        seen |= statuses
        if "finished" in statuses:
            assert answer.choices[0].finish_reason == "stop"
            toys = json.loads(answer.choices[0].message.content)
            assert toys["toy"] in ("kite", "ball")
            assert toys["count"] in (1, 2)
    assert seen == {"finished", "truncated"}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_named_tool(client: openai.AsyncOpenAI, stream: bool) -> None:
    """vLLM holds the arguments to their schema only where the tool is strict."""
    function = {"name": "pick", "parameters": TOYS, "strict": True}
    answer = await _picked(client, function, stream)
    call = answer.choices[0].message.tool_calls[0]
    arguments = json.loads(call.function.arguments)
    assert call.function.name == "pick"
    assert call.id
    assert arguments["toy"] in ("kite", "ball")
    assert arguments["count"] in (1, 2)


async def test_a_tool_call_that_violates_its_schema_never_wins(client: openai.AsyncOpenAI) -> None:
    """This policy knows nothing of tools: unless it is held to the schema it writes numbers."""
    with pytest.raises(openai.InternalServerError) as refused:
        await _picked(client, {"name": "pick", "parameters": TOYS}, stream=False)
    assert refused.value.status_code == 502
    assert refused.value.code == "no_valid_candidate"


async def _picked(client: openai.AsyncOpenAI, function: dict[str, Any], stream: bool) -> Any:
    asked: Any = {
        "model": BEST,
        "messages": ask(),
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "pick"}},
        "max_tokens": 200,
        "seed": 1,
    }
    if not stream:
        return await client.chat.completions.create(**asked)
    async with client.chat.completions.stream(**asked) as events:
        return await events.get_final_completion()


async def test_typed_errors(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(model=BEST, messages=messages("x " * 2000))
    assert refused.value.type == "invalid_request_error"
    with pytest.raises(openai.NotFoundError) as missing:
        await client.chat.completions.create(model="none", messages=messages())
    assert missing.value.code == "model_not_found"
