"""A streamed winner is the winner as it was, in lines that any reader can take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from bon_gateway.api.chunks import winner_choices
from bon_gateway.assemble import Assembly
from bon_gateway.testing.fakes import Act, FakePolicy, completion
from bon_gateway.types import Completion, Delta
from tests.bon_gateway.api.conftest import Serve

LONGEST_LINE = 16 * 1024
HEAD = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
long_texts = st.builds(lambda text, times: text * times, texts, st.integers(0, 200))


def entry(token: bytes, top: int = 0) -> dict[str, Any]:
    one = {
        "token": token.decode("utf-8", "replace"),
        "logprob": -0.25,
        "bytes": list(token),
    }
    return {**one, "top_logprobs": [one] * top}


@st.composite
def tokens_of(draw: st.DrawFn, spelt: bytes) -> list[dict[str, Any]]:
    """``spelt`` cut anywhere, inside of characters too, with what a parser takes out around it."""
    sizes = draw(st.lists(st.integers(1, 40), min_size=1, max_size=20))
    tokens: list[bytes] = []
    start = 0
    while start < len(spelt):
        size = sizes[len(tokens) % len(sizes)]
        tokens.append(spelt[start : start + size])
        start += size
    before, after = draw(st.sampled_from([(b"", b""), (b"<think>", b"<end>")]))
    return [entry(token, draw(st.integers(0, 3))) for token in (before, *tokens, after)]


@st.composite
def completions(draw: st.DrawFn) -> Completion:
    content = draw(st.none() | long_texts)
    reasoning = draw(st.none() | long_texts)
    calls = draw(st.lists(st.builds(_call, st.integers(0, 99), long_texts), max_size=3))
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
    if reasoning is not None:
        message["reasoning"] = reasoning
    if calls:
        message["tool_calls"] = [{**call, "id": f"c{i}"} for i, call in enumerate(calls)]
    spelt = ((reasoning or "") + "\n" + (content or "")).encode()
    logprobs = draw(st.none() | tokens_of(spelt))
    ids = draw(st.none() | st.lists(st.integers(0, 9), max_size=3000))
    if logprobs is not None and draw(st.booleans()):
        ids = list(range(len(logprobs)))
    extra: dict[str, Any] = {"stop_reason": draw(st.sampled_from([None, 7, "x"]))}
    if ids is not None:
        extra["token_ids"] = ids
    return Completion(
        message=message,
        finish_reason=draw(st.sampled_from(["stop", "length", "tool_calls"])),
        tokens=1,
        prompt_tokens=1,
        logprobs=None if logprobs is None else {"content": logprobs},
        extra=extra,
    )


def _call(name: int, arguments: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": f"f{name}", "arguments": arguments}}


def lines(drawn: Completion) -> list[bytes]:
    return [orjson.dumps({**HEAD, "choices": [c]}) for c in winner_choices(drawn, 0)]


def without_nulls(message: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in message.items() if v is not None}


@settings(max_examples=100, deadline=None)
@given(completions())
def test_what_is_put_together_is_the_whole(drawn: Completion) -> None:
    assembly = Assembly()
    for line in lines(drawn):
        assert len(line) <= LONGEST_LINE
        assembly.add(Delta(orjson.loads(line)["choices"][0]))
    got = assembly.completion()
    assert without_nulls(got.message) == without_nulls(drawn.message)
    assert got.finish_reason == drawn.finish_reason
    assert (got.logprobs or {}).get("content", []) == (drawn.logprobs or {}).get("content", [])
    assert got.extra.get("token_ids", []) == drawn.extra.get("token_ids", [])
    assert got.extra.get("stop_reason") == drawn.extra["stop_reason"]


@settings(max_examples=50, deadline=None)
@given(completions())
def test_openai_python_puts_it_together_too(drawn: Completion) -> None:
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for line in lines(drawn):
        state.handle_chunk(ChatCompletionChunk.model_validate_json(line))
    choice = state.current_completion_snapshot.choices[0]
    message = choice.message.model_dump()
    assert message["content"] == drawn.message["content"]
    assert (message.get("reasoning") or "") == (drawn.message.get("reasoning") or "")
    calls = [
        (call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in message["tool_calls"] or ()
    ]
    assert calls == [
        (call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in drawn.message.get("tool_calls", ())
    ]
    logprobs = [] if choice.logprobs is None else choice.logprobs.content or []
    assert [token.token for token in logprobs] == [
        token["token"] for token in (drawn.logprobs or {}).get("content", ())
    ]
    assert choice.finish_reason == drawn.finish_reason


@settings(max_examples=80, deadline=None)
@given(completions())
def test_each_delta_has_one_field_reasoning_before_content_before_calls(drawn: Completion) -> None:
    order = ["reasoning", "content", "tool_calls"]
    seen = []
    for line in lines(drawn)[1:]:
        delta = orjson.loads(line)["choices"][0]["delta"]
        assert len(delta) <= 1
        seen += delta
    assert seen == sorted(seen, key=order.index)


def test_the_worst_of_everything_in_one_piece_is_still_a_short_line() -> None:
    """Texts that JSON writes six times as long, beside tokens that do not spell them."""
    drawn = Completion(
        message={"role": "assistant", "content": "\x01" * 20_000},
        finish_reason="stop",
        tokens=1,
        prompt_tokens=1,
        logprobs={"content": [entry(b"\x02" * 9, top=20) for _ in range(100)]},
        extra={"token_ids": [2_000_000] * 10_000},
    )
    assert max(map(len, lines(drawn))) <= LONGEST_LINE


def test_tokens_that_all_end_inside_of_characters_come_in_pieces_too() -> None:
    snow = "\u2603" * 3000
    data = snow.encode()
    tokens = [data[:1], *(data[start : start + 3] for start in range(1, len(data), 3))]
    drawn = Completion(
        message={"role": "assistant", "content": snow},
        finish_reason="stop",
        tokens=1,
        prompt_tokens=1,
        logprobs={"content": [entry(token) for token in tokens]},
    )
    choices = list(winner_choices(drawn, 0))
    assert max(map(len, lines(drawn))) <= LONGEST_LINE
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == snow
    assert all(choice["delta"].get("content") for choice in choices[1:-1])


def test_a_piece_comes_with_the_tokens_that_spell_it() -> None:
    words = [b"<think>", "wägen ".encode(), b"on ", b"</think>", *[b" w%d" % i for i in range(999)]]
    content = b"".join(words[4:]).decode()
    drawn = Completion(
        message={"role": "assistant", "content": content, "reasoning": "wägen on"},
        finish_reason="stop",
        tokens=len(words),
        prompt_tokens=1,
        logprobs={"content": [entry(word) for word in words]},
        extra={"token_ids": list(range(len(words)))},
    )
    pieces = 0
    for line in lines(drawn):
        choice = orjson.loads(line)["choices"][0]
        tokens = (choice["logprobs"] or {}).get("content", [])
        text = choice["delta"].get("content")
        assert len(choice.get("token_ids", [])) == len(tokens)
        if text:
            pieces += 1
            spelt = b"".join(bytes(token["bytes"]) for token in tokens).decode()
            assert spelt.removeprefix("</think>") == text
    assert pieces > 5


@pytest.mark.parametrize(
    "odd",
    [{"content": None}, {"content": "x"}, {"content": [], "refusal": []}, {"more": 1}],
)
def test_logprobs_of_another_form_are_passed_on(odd: dict[str, Any]) -> None:
    drawn = replace(completion("hi"), logprobs=odd)
    told = [orjson.loads(line)["choices"][0]["logprobs"] for line in lines(drawn)]
    assert [value for value in told if value is not None] == [odd]


async def read_with_aiohttp(url: str, body: dict[str, Any]) -> list[Any]:
    """Line by line, as aiohttp's reader gives them: it raises for one above 128 KiB."""
    events = []
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/v1/chat/completions", json={**body, "stream": True}) as answer,
    ):
        assert answer.status == 200
        async for line in answer.content:
            assert len(line) <= LONGEST_LINE
            if line.startswith(b"data: {"):
                events.append(orjson.loads(line[6:]))
    return events


ASK = {"model": "best", "messages": [{"role": "user", "content": "hi"}]}


async def test_aiohttp_reads_a_long_answer(serve: Serve) -> None:
    text = "0123456789" * 14_000
    served = await serve(policy=FakePolicy(dict.fromkeys(range(4), Act((completion(text),)))))
    events = await read_with_aiohttp(served.url, ASK)
    deltas = [choice["delta"] for event in events for choice in event["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == text


async def test_aiohttp_reads_many_logprobs(serve: Serve) -> None:
    tokens = [entry(b" word%d" % i, top=20) for i in range(150)]
    text = "".join(token["token"] for token in tokens)
    drawn = replace(completion(text), logprobs={"content": tokens})
    served = await serve(policy=FakePolicy(dict.fromkeys(range(4), Act((drawn,)))))
    events = await read_with_aiohttp(served.url, {**ASK, "logprobs": True, "top_logprobs": 20})
    choices = [choice for event in events for choice in event["choices"]]
    got = [t for c in choices if c["logprobs"] for t in c["logprobs"]["content"]]
    assert got == tokens
    assert "".join(c["delta"].get("content") or "" for c in choices) == text


async def test_usage_in_every_chunk_of_a_winner(serve: Serve) -> None:
    served = await serve()
    options = {"include_usage": True, "continuous_usage_stats": True}
    events = await read_with_aiohttp(served.url, {**ASK, "stream_options": options})
    usages = [event["usage"] for event in events]
    assert len(usages) >= 4
    assert usages == [{"prompt_tokens": 5, "completion_tokens": 12, "total_tokens": 17}] * len(
        usages
    )


@pytest.mark.parametrize("model", ["best", "one"])
async def test_usage_in_no_chunk_without_include_usage(serve: Serve, model: str) -> None:
    """As vLLM has it: the one means nothing without the other."""
    served = await serve()
    events = await read_with_aiohttp(
        served.url, {**ASK, "model": model, "stream_options": {"continuous_usage_stats": True}}
    )
    assert events
    assert all("usage" not in event for event in events)
