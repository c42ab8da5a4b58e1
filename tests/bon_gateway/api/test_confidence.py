"""Confidence over HTTP: what the client sees of what the gateway asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import orjson
import pytest

from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion
from bon_gateway.testing.script import Step
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.api.conftest import Serve, Served, Setup, serving
from tests.bon_gateway.backends.support import after_warm_up, policy
from tests.waiting import until

LOGPROBS = ((-1.0, -3.0), (-0.5, -0.25), (-4.0,), (-1.0,))
"""Of the candidates ``answer 0`` to ``answer 3``; the second is the surest."""
MODELS = {
    "sure": {"policy": "p", "strategy": {"type": "confidence", "n": 4}},
    "voted": {
        "policy": "p",
        "strategy": {"type": "borda", "n": 4, "signal": {"type": "lowest_group"}},
    },
    "hedged": {
        "policy": "p",
        "reward": "r",
        "strategy": {"type": "best_of_n", "n": 4, "fallback": "confidence"},
    },
    "strict": {"policy": "p", "strategy": {"type": "confidence", "n": 2, "fallback": "error"}},
    "poisson": {"policy": "p", "reward": "r", "strategy": {"type": "poisson", "mu": 3, "n": 9}},
}


def measured() -> FakePolicy:
    return FakePolicy(
        {i: Act((completion(f"answer {i}", logprobs=each),)) for i, each in enumerate(LOGPROBS)}
    )


async def test_a_model_without_a_reward_is_chosen_from_by_confidence(serve: Serve) -> None:
    served = await serve(policy=measured(), settings={"models": MODELS})
    response = await served.chat(model="sure", n=2)
    answer = response.json()
    said = [choice["message"]["content"] for choice in answer["choices"]]
    assert said == ["answer 1", "answer 3"]
    assert [choice["logprobs"] for choice in answer["choices"]] == [None, None]
    bon = answer["bon"]
    assert (bon["strategy"], bon["winner"], bon["reward"]) == ("confidence", 1, None)
    assert (bon["confidence"], bon["degraded"]) == (-0.375, None)
    assert [each["confidence"] for each in bon["candidates"]] == [-2.0, -0.375, -4.0, -1.0]
    assert response.headers["x-bon-confidence"] == "-0.375"
    assert "x-bon-reward" not in response.headers
    assert served.metric("bon_tokens_total", model="sure", kind="reward") == 0


async def test_nothing_says_confidence_where_none_was_measured(serve: Serve) -> None:
    served = await serve(policy=measured())
    response = await served.chat()
    bon = response.json()["bon"]
    assert "confidence" not in bon
    assert not any("confidence" in each for each in bon["candidates"])
    assert "x-bon-confidence" not in response.headers


async def test_the_client_gets_the_logprobs_that_it_asks_for(serve: Serve) -> None:
    served = await serve(policy=measured(), settings={"models": MODELS})
    answer = (await served.chat(model="sure", logprobs=True)).json()
    tokens = answer["choices"][0]["logprobs"]["content"]
    assert [token["logprob"] for token in tokens] == [-0.5, -0.25]


async def test_a_reward_model_that_is_down_leaves_the_surest(serve: Serve) -> None:
    served = await serve(
        policy=measured(), settings={"models": MODELS}, reward=FakeReward(failures=99)
    )
    response = await served.chat(model="hedged")
    bon = response.json()["bon"]
    assert (bon["winner"], bon["reward"], bon["confidence"]) == (1, None, -0.375)
    lost = "reward_unavailable, chosen_by_confidence"
    assert bon["degraded"] == response.headers["x-bon-degraded"] == lost
    assert served.metric("bon_degraded_total", model="hedged", reason="chosen_by_confidence") == 1


async def test_a_policy_without_logprobs(serve: Serve) -> None:
    served = await serve(settings={"models": MODELS})
    bon = (await served.chat(model="sure")).json()["bon"]
    assert (bon["winner"], bon["degraded"]) == (0, "confidence_unavailable")
    assert "confidence" not in bon
    refused = await served.chat(model="strict")
    assert refused.status_code == 502
    assert refused.json()["error"]["code"] == "confidence_unavailable"
    for body in ({"model": "sure", "stream": True}, {"model": "strict", "stream": True}):
        assert "confidence_unavailable" in (await served.chat(**body)).text


async def test_a_request_chooses_them(serve: Serve) -> None:
    served = await serve(policy=measured(), settings={"models": MODELS})
    # The model's fallback is none of theirs.
    for name in ("confidence", "borda"):
        bon = (await served.chat(model="hedged", bon={"strategy": name, "n": 3})).json()["bon"]
        assert (bon["strategy"], bon["n"], bon["reward"]) == (name, 3, None)
    bon = (await served.chat(model="sure", bon={"strategy": "majority"})).json()["bon"]
    assert (bon["strategy"], bon["winner"]) == ("majority", 0)
    for key in ("signal", "p", "mu", "fallback"):
        refused = await served.chat(model="hedged", bon={key: 2})
        assert refused.json()["error"]["param"] == f"bon.{key}"


async def test_a_number_of_candidates_that_is_drawn_is_told_truly(serve: Serve) -> None:
    served = await serve(settings={"models": MODELS})
    numbers = set()
    for seed in range(6):
        stream = await served.chat(model="poisson", seed=seed, stream=True)
        whole = await served.chat(model="poisson", seed=seed)
        bon = whole.json()["bon"]
        assert len(bon["candidates"]) == bon["n"]
        assert whole.headers["x-bon-n"] == stream.headers["x-bon-n"] == str(bon["n"])
        assert bon["winner"] == bon["n"] - 1
        numbers.add(bon["n"])
    assert len(numbers) > 2
    assert (await served.chat(model="poisson", n=10)).json()["error"]["param"] == "n"
    assert len((await served.chat(model="poisson", n=9)).json()["choices"]) == 9


@asynccontextmanager
async def before_vllm(upstream: FakeUpstream) -> AsyncIterator[Served]:
    backend = policy(upstream, fan_out="together")
    setup = Setup(policy=cast(FakePolicy, backend), settings={"models": MODELS})
    async with serving(setup) as served:
        await until(backend.ready)
        after_warm_up(upstream, Step(tokens=40))
        yield served


def tokens_in(stream: str) -> list[dict[str, Any]]:
    """The tokens of all chunks of the first choice."""
    found: list[dict[str, Any]] = []
    for line in stream.splitlines():
        if line.startswith("data: {"):
            for choice in orjson.loads(line[6:])["choices"]:
                if choice["index"] == 0:
                    found += (choice["logprobs"] or {}).get("content") or ()
    return found


ASKED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"logprobs": True, "top_logprobs": 6}),
    ({"logprobs": True}, {"logprobs": True, "top_logprobs": 6}),
    ({"logprobs": True, "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 6}),
    ({"logprobs": True, "top_logprobs": 8}, {"logprobs": True, "top_logprobs": 8}),
]


@pytest.mark.parametrize(("client", "engine"), ASKED)
async def test_streams_and_choices_show_only_what_the_client_asked_for(
    client: dict[str, Any], engine: dict[str, Any]
) -> None:
    shown = client.get("top_logprobs", 0)
    async with FakeUpstream() as upstream, before_vllm(upstream) as served:
        # With a deadline the gateway itself reads a stream.
        for bon in ({}, {"deadline_ms": 60_000}):
            body = {"model": "voted", "seed": 3, "n": 2, **client, "bon": bon}
            answer = (await served.chat(**body)).json()
            stream = (await served.chat(**body, stream=True)).text
            assert len(answer["choices"]) == 2
            assert answer["bon"]["confidence"] > 0
            streamed = tokens_in(stream)
            if not client:
                assert [choice["logprobs"] for choice in answer["choices"]] == [None, None]
                assert streamed == []
            for choice in answer["choices"] if client else ():
                tokens = choice["logprobs"]["content"]
                assert len(tokens) == 40
                assert {len(token["top_logprobs"]) for token in tokens} == {shown}
            if client:
                assert streamed == answer["choices"][0]["logprobs"]["content"]
        for call in upstream.calls:
            assert {key: call.body[key] for key in engine} == engine


async def test_what_the_engine_refuses_it_still_refuses() -> None:
    async with FakeUpstream() as upstream, before_vllm(upstream) as served:
        refused = await served.chat(model="voted", top_logprobs=2)
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "top_logprobs"
