"""A policy with variants through the whole app: two upstreams, and what each of them was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from bon_gateway.app import ServingApp, create_app
from bon_gateway.gateway import wait_until
from bon_gateway.replay.log import read_log
from bon_gateway.settings.tree import Settings
from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.api.serving import client_of

OF = [
    {"policy": "small", "share": 2, "temperature": 0.7},
    {"policy": "large", "name": "thoughtful", "system_suffix": "Think.", "model": "lora"},
]
LABELS = ["small", "thoughtful", "small"]


@asynccontextmanager
async def serving(
    small: FakeUpstream, large: FakeUpstream, fan_out: str = "together", **sections: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, ServingApp]]:
    keys = {"type": "vllm", "fan_out": fan_out, "probe_interval_s": 0.1}
    made_of = {"policy": "mix", "reward": "r"}
    settings = Settings.model_validate(
        {
            "policies": {
                "small": {**keys, "urls": [small.url]},
                "large": {**keys, "urls": [large.url], "model": "fake"},
                "mix": {"type": "variants", "of": OF},
            },
            "rewards": {"r": {"type": "reward_server", "urls": [small.url]}},
            "models": {
                "best": {**made_of, "strategy": {"type": "best_of_n", "n": 3}},
                "one": {"policy": "mix", "strategy": {"type": "single"}},
            },
            **sections,
        }
    )
    app = create_app(settings, environ={})
    async with client_of(app) as http:
        small.calls.clear()
        large.calls.clear()
        yield http, app


async def chat(http: httpx.AsyncClient, **body: Any) -> httpx.Response:
    asked = {"model": "best", "messages": [{"role": "user", "content": "hi"}], **body}
    response = await http.post("/v1/chat/completions", json=asked)
    assert response.status_code == 200, response.text
    return response


def asked(upstream: FakeUpstream) -> list[dict[str, Any]]:
    return [dict(call.body) for call in upstream.calls if call.path.endswith("completions")]


def labels(answer: dict[str, Any]) -> list[str]:
    return [candidate["variant"] for candidate in answer["bon"]["candidates"]]


@pytest.mark.parametrize("fan_out", ["together", "separate"])
async def test_each_upstream_is_asked_in_its_own_way(fan_out: str) -> None:
    large = FakeUpstream(adapters=("lora",))
    async with FakeUpstream() as small, large, serving(small, large, fan_out) as (http, _):
        answer = (await chat(http, temperature=0.1, max_tokens=5)).json()
    assert labels(answer) == LABELS
    assert [body["n"] for body in asked(small)] == ([2] if fan_out == "together" else [1, 1])
    for body in asked(small):
        assert (body["model"], body["temperature"], body["max_tokens"]) == ("fake", 0.7, 5)
        assert body["messages"] == [{"role": "user", "content": "hi"}]
    [body] = asked(large)
    assert (body["model"], body["n"], body["temperature"]) == ("lora", 1, 0.1)
    assert body["messages"][0] == {"role": "system", "content": "Think."}
    # The reward model reads the client's conversation.
    scores = [call.body for call in small.calls if call.path == "/v1/score"]
    read = [item["messages"] for body in scores for item in body["items"]]
    assert read
    assert all(messages == [{"role": "user", "content": "hi"}] for messages in read)


async def test_usage_metrics_and_the_log_tell_them_apart(tmp_path: Path) -> None:
    large = FakeUpstream(lambda _: Step(tokens=7), adapters=("lora",))
    small = FakeUpstream(
        lambda call: Step(tokens=2) if call.path.endswith("completions") else Step()
    )
    recording: dict[str, Any] = {"recording": {"folder": str(tmp_path)}}
    async with small, large, serving(small, large, **recording) as (http, app):
        answer = (await chat(http)).json()
        single = (await chat(http, model="one")).json()
        registry = app.state.metrics.registry
    # The fake counts a token for each message, and the suffix makes one more.
    assert single["usage"]["prompt_tokens"] == 1
    assert answer["usage"]["prompt_tokens"] == answer["bon"]["usage"]["prompt_tokens"] == 1 + 2
    assert answer["usage"]["completion_tokens"] == 11

    def metric(name: str, **labels: str) -> float:
        return registry.get_sample_value(name, {"model": "best", **labels}) or 0.0

    winner = labels(answer)[answer["bon"]["winner"]]
    other = next(label for label in LABELS if label != winner)
    for label, count, tokens in (("small", 2, 4), ("thoughtful", 1, 7)):
        drawn = metric("bon_variant_candidates_total", variant=label, status="finished")
        assert drawn == count
        assert metric("bon_variant_tokens_total", variant=label) == tokens
    assert metric("bon_variant_wins_total", variant=winner) == 1
    assert metric("bon_variant_wins_total", variant=other) == 0
    [path] = await asyncio.to_thread(lambda: [*tmp_path.iterdir()])
    line = json.loads((await asyncio.to_thread(path.read_text)).splitlines()[0])
    assert (line["policy"], [c["variant"] for c in line["candidates"]]) == ("mix", LABELS)
    recorded = next(read_log([path])).request
    assert [candidate.variant for candidate in recorded.candidates] == LABELS


async def test_one_greedy_answer_has_the_clients_sampling() -> None:
    large = FakeUpstream(adapters=("lora",))
    async with FakeUpstream() as small, large, serving(small, large) as (http, _):
        answer = (await chat(http, temperature=0)).json()
    assert labels(answer) == ["small"]
    assert [body["temperature"] for body in asked(small)] == [0]
    assert asked(large) == []


@pytest.mark.parametrize("stream", [False, True])
async def test_single_asks_the_variant_of_candidate_0(stream: bool) -> None:
    large = FakeUpstream(adapters=("lora",))
    async with FakeUpstream() as small, large, serving(small, large) as (http, _):
        response = await chat(http, model="one", stream=stream, seed=4)
    text = response.text
    last = text.split("data: ")[-2] if stream else text
    assert labels(json.loads(last)) == ["small"]
    [body] = asked(small)
    assert (body["temperature"], body["seed"], asked(large)) == (0.7, 4, [])


async def test_a_seed_gives_the_same_answers_again() -> None:
    large = FakeUpstream(adapters=("lora",))
    async with FakeUpstream() as small, large, serving(small, large) as (http, _):
        bon = {"return_candidates": True}
        answers = [(await chat(http, seed=9, bon=bon)).json() for _ in range(2)]
    said = [[c["message"]["content"] for c in a["bon"]["candidates"]] for a in answers]
    assert said[0] == said[1]
    assert [body["seed"] for body in asked(large)] == [10, 10]


@pytest.mark.parametrize("fan_out", ["together", "separate"])
async def test_when_an_upstream_dies_the_other_draws_its_candidates(fan_out: str) -> None:
    def dead(call: Call) -> Step:
        return Step(cut_after=0) if call.candidate is not None else Step()

    large = FakeUpstream(adapters=("lora",))
    async with FakeUpstream() as small, large, serving(small, large, fan_out) as (http, app):
        large.script = dead
        answer = (await chat(http)).json()
        assert labels(answer) == ["small"] * 3
        assert answer["bon"]["degraded"] is None
        large.healthy = False
        down = app.state.gateway.policies["large"]
        assert await wait_until(lambda: not down.ready(), 20)
        large.calls.clear()
        assert labels((await chat(http)).json()) == ["small"] * 3
        assert asked(large) == []
        states = app.state.gateway.states()
    # No upstream is listed twice.
    assert [*states] == ["policies.small", "policies.large", "rewards.r"]


async def test_a_client_that_leaves_stops_all_of_them() -> None:
    hold = asyncio.Event()
    step = Step(hold=hold)
    small, large = FakeUpstream(), FakeUpstream(adapters=("lora",))
    async with small, large, serving(small, large) as (http, _):
        small.script = large.script = lambda _: step
        task = asyncio.create_task(chat(http))
        assert await wait_until(lambda: small.running == large.running == 1, 20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await wait_until(lambda: small.aborted == large.aborted == 1, 20)
        hold.set()
