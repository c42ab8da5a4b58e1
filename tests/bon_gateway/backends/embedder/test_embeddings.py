"""The embedder over HTTP, against a real loopback server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from bon_gateway.backends.embedder.embeddings import (
    BATCH,
    MOST_DIMENSIONS,
    EmbeddingsBackend,
    EmbeddingsSettings,
)
from bon_gateway.errors import EmbedderError
from bon_gateway.testing.embeddings import fake_vector
from bon_gateway.testing.script import Call, Script, Step
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import Caller
from tests.waiting import until

CALLER = Caller("request", {"traceparent": "00-1-1-00"})


@asynccontextmanager
async def embedding(
    upstream: FakeUpstream, key: str | None = None, **settings: Any
) -> AsyncIterator[EmbeddingsBackend]:
    described = {"type": "embeddings", "urls": [upstream.url], "probe_interval_s": 0.05}
    backend = EmbeddingsSettings.model_validate({**described, **settings}).build(key)
    await backend.start()
    try:
        await until(backend.ready, what="the embedder is up")
        yield backend
    finally:
        await backend.close()


def once(step: Step) -> Script:
    """The first call is the warm-up."""
    return lambda call: Step() if call.body["input"] == ["Hi"] else step


async def test_texts_become_vectors_in_order() -> None:
    texts = [f"{'a' * (1 + place % 9)} b {place}" for place in range(2 * BATCH + 3)]
    async with FakeUpstream(model="e5") as upstream, embedding(upstream) as backend:
        assert await backend.embed(texts, CALLER) == [fake_vector(text) for text in texts]
    warm_up, *calls = upstream.calls
    assert warm_up.body == {"model": "e5", "input": ["Hi"]}
    assert sorted(len(call.body["input"]) for call in calls) == [3, BATCH, BATCH]
    assert {call.headers["x-request-id"] for call in calls} == {"request"}
    assert {call.headers["traceparent"] for call in calls} == {"00-1-1-00"}


async def test_what_the_settings_say_is_sent() -> None:
    keys: dict[str, Any] = {"model": "mine", "prefix": "query: ", "max_chars": 5}
    fields = {"truncate_prompt_tokens": -1, "model": "not this"}
    async with (
        FakeUpstream(model="mine", api_key="secret") as upstream,
        embedding(upstream, "secret", **keys, fields=fields) as backend,
    ):
        await backend.embed(["one two"], None)
    assert [call.body for call in upstream.calls] == [
        {"truncate_prompt_tokens": -1, "model": "mine", "input": [text]}
        for text in ("query: Hi", "query: one t")
    ]


def answering(*vectors: Any, **entry: Any) -> Step:
    data = [{"index": place, "embedding": one, **entry} for place, one in enumerate(vectors)]
    return Step(raw=orjson.dumps({"data": data}))


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (answering([1.0]), "did not give 2 vectors"),
        (answering([1.0], [2.0], index=1), "not numbered as the texts are"),
        (answering([1.0], "base64"), "cannot be read"),
        (answering([1.0], []), "cannot be read"),
        (answering([1.0], [1.0] * (MOST_DIMENSIONS + 1)), "longer than any that is known"),
        (answering([1.0], [None]), "no finite number"),
        (Step(raw=b'{"data": [{"embedding": [NaN]}, {"embedding": [1]}]}'), "no finite number"),
        (Step(raw=b'{"data": 3}'), "did not give 2 vectors"),
        (Step(raw=b"[]"), "not a JSON object"),
        (Step(status=500), "answered 500"),
        (Step(status=429), "overloaded"),
        (Step(status=401), "refused the gateway's key"),
        (Step(cut_after=0), "cannot embed"),
    ],
)
async def test_what_cannot_be_used(step: Step, reason: str) -> None:
    async with FakeUpstream(once(step)) as upstream, embedding(upstream) as backend:
        with pytest.raises(EmbedderError, match=reason) as caught:
            await backend.embed(["one", "two"], CALLER)
    assert caught.value.code == "embedder_unavailable"
    assert caught.value.status == 503


async def test_a_refusal_does_not_quote_the_text() -> None:
    step = Step(status=400, error={"message": "too long: my secret answer"})
    async with FakeUpstream(once(step)) as upstream, embedding(upstream) as backend:
        with pytest.raises(EmbedderError) as caught:
            await backend.embed(["my secret answer"], CALLER)
    assert caught.value.message == "The embedder cannot embed: It refused the answers (400)."


async def test_a_slow_one_is_not_waited_for() -> None:
    step = Step(hold=asyncio.Event())
    async with (
        FakeUpstream(once(step)) as upstream,
        embedding(upstream, timeout_s=0.05) as backend,
    ):
        with pytest.raises(EmbedderError):
            await backend.embed(["one"], CALLER)


async def test_the_first_failure_ends_the_other_batches() -> None:
    never = asyncio.Event()

    def script(call: Call) -> Step:
        if call.body["input"] == ["Hi"]:
            return Step()
        return Step(status=500) if len(call.body["input"]) < BATCH else Step(hold=never)

    async with FakeUpstream(script) as upstream, embedding(upstream) as backend:
        with pytest.raises(EmbedderError, match="500"):
            await backend.embed([str(place) for place in range(BATCH + 1)], CALLER)
        await until(lambda: upstream.aborted == 1, what="the other call is aborted")


async def test_one_that_is_down_is_told() -> None:
    async with FakeUpstream() as upstream, embedding(upstream) as backend:
        await upstream.stop()
        with pytest.raises(EmbedderError):
            await backend.embed(["one"], CALLER)
        await until(lambda: not backend.ready(), what="it is noticed")
        with pytest.raises(EmbedderError, match="No upstream is up"):
            await backend.embed(["one"], CALLER)
