"""A cascade through the whole app: a cheap upstream and a better one."""

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
from bon_gateway.settings.tree import Settings
from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.api.serving import client_of

CASCADE = {"type": "cascade", "first": "small", "first_n": 2, "threshold": 1.3, "n": 3}


@asynccontextmanager
async def serving(
    small: FakeUpstream,
    large: FakeUpstream,
    judge: FakeUpstream,
    fan_out: str = "together",
    **sections: Any,
) -> AsyncIterator[tuple[httpx.AsyncClient, ServingApp]]:
    keys = {"type": "vllm", "fan_out": fan_out, "probe_interval_s": 0.1}
    settings = Settings.model_validate(
        {
            "policies": {
                "small": {**keys, "urls": [small.url]},
                "large": {**keys, "urls": [large.url]},
            },
            "rewards": {"r": {"type": "reward_server", "urls": [judge.url]}},
            "models": {"smart": {"policy": "large", "reward": "r", "strategy": CASCADE}},
            **sections,
        }
    )
    app = create_app(settings, environ={})
    async with client_of(app) as http:
        for upstream in (small, large, judge):
            upstream.calls.clear()
        yield http, app


async def chat(http: httpx.AsyncClient, **body: Any) -> httpx.Response:
    asked = {"model": "smart", "messages": [{"role": "user", "content": "hi"}], **body}
    return await http.post("/v1/chat/completions", json=asked)


def drawn(upstream: FakeUpstream) -> int:
    return sum(call.body["n"] for call in upstream.calls if call.path.endswith("completions"))


def worth(reward: float) -> FakeUpstream:
    """A reward model that gives every answer this reward."""
    return FakeUpstream(lambda _: Step(reward=reward))


@pytest.mark.parametrize("fan_out", ["together", "separate"])
@pytest.mark.parametrize(("reward", "escalated"), [(1.3, False), (1.2, True)])
async def test_the_reward_decides_who_answers(
    fan_out: str, reward: float, escalated: bool, tmp_path: Path
) -> None:
    recording: dict[str, Any] = {"recording": {"folder": str(tmp_path)}}
    async with (
        FakeUpstream() as small,
        FakeUpstream() as large,
        worth(reward) as judge,
        serving(small, large, judge, fan_out, **recording) as (http, app),
    ):
        answer = (await chat(http, seed=3)).json()
        registry = app.state.metrics.registry
    bon = answer["bon"]
    assert (drawn(small), drawn(large)) == (2, 3 if escalated else 0)
    labels = [candidate["variant"] for candidate in bon["candidates"]]
    assert labels == ["small"] * 2 + ["large"] * (3 if escalated else 0)
    stopped, rounds = ("escalated", 2) if escalated else ("good_enough", 1)
    assert (bon["strategy"], bon["stopped"], bon["rounds"]) == ("cascade", stopped, rounds)
    # Equal rewards: the lower index, and so the cheap policy.
    assert (bon["winner"], bon["degraded"]) == (0, None)
    assert answer["usage"]["prompt_tokens"] == rounds
    seeds = {call.body["seed"] for call in large.calls if call.path.endswith("completions")}
    assert min(seeds, default=5) == 5

    def metric(name: str, **labels: str) -> float:
        return registry.get_sample_value(name, {"model": "smart", **labels}) or 0.0

    assert metric("bon_stopped_total", reason=stopped) == 1
    assert metric("bon_variant_wins_total", variant="small") == 1
    finished = {"status": "finished"}
    drew = metric("bon_variant_candidates_total", variant="large", **finished)
    assert drew == (3 if escalated else 0)
    [path] = await asyncio.to_thread(lambda: [*tmp_path.iterdir()])
    line = json.loads(await asyncio.to_thread(path.read_text))
    assert [candidate["variant"] for candidate in line["candidates"]] == labels


async def test_a_client_may_stream_it_and_change_the_better_policy_s_n() -> None:
    async with (
        FakeUpstream() as small,
        FakeUpstream() as large,
        worth(0.0) as judge,
        serving(small, large, judge) as (http, _),
    ):
        response = await chat(http, stream=True, bon={"n": 1})
        best = await chat(http, bon={"strategy": "best_of_n", "n": 4})
        chosen = await chat(http, bon={"strategy": "cascade"})
        beyond = await chat(http, bon={"n": 63})
    assert response.headers["x-bon-n"] == "3"
    bon = json.loads(response.text.split("data: ")[-2])["bon"]
    assert [candidate["variant"] for candidate in bon["candidates"]] == ["small", "small", "large"]
    assert (best.status_code, "variant" in best.json()["bon"]["candidates"][0]) == (200, False)
    # A threshold has no default that fits.
    assert chosen.status_code == 400
    assert beyond.status_code == 400
    assert "65 candidates are above the limit of 64" in beyond.json()["error"]["message"]


async def test_while_the_reward_model_is_down_the_cheap_policy_answers() -> None:
    async with (
        FakeUpstream() as small,
        FakeUpstream() as large,
        worth(9.0) as judge,
        serving(small, large, judge) as (http, _),
    ):
        judge.script = lambda _: Step(status=500, error="broken")
        answer = (await chat(http)).json()
    bon = answer["bon"]
    assert (bon["stopped"], bon["degraded"], bon["winner"]) == ("unjudged", "reward_unavailable", 0)
    assert (drawn(small), drawn(large)) == (2, 0)


async def test_both_may_be_mixes() -> None:
    of = [{"policy": "small"}, {"policy": "large", "name": "careful", "temperature": 0.2}]
    mix = {"type": "variants", "of": of}
    async with FakeUpstream() as small, FakeUpstream() as large, worth(0.0) as judge:
        plain = {
            name: {"type": "vllm", "urls": [upstream.url], "probe_interval_s": 0.1}
            for name, upstream in (("small", small), ("large", large))
        }
        policies = {**plain, "mix": mix}
        strategy = {**CASCADE, "first": "mix"}
        made_of = {"policy": "mix", "reward": "r", "strategy": strategy}
        sections: dict[str, Any] = {"policies": policies, "models": {"smart": made_of}}
        async with serving(small, large, judge, **sections) as (http, _):
            answer = (await chat(http)).json()
    labels = [candidate["variant"] for candidate in answer["bon"]["candidates"]]
    assert labels == ["small", "careful", "small", "careful", "small"]


async def test_a_client_that_leaves_stops_the_policy_that_draws() -> None:
    hold = asyncio.Event()
    held = Step(hold=hold)

    def script(call: Call) -> Step:
        return held if call.candidate is not None else Step()

    async with (
        FakeUpstream() as small,
        FakeUpstream(script) as large,
        worth(0.0) as judge,
        serving(small, large, judge) as (http, _),
    ):
        task = asyncio.create_task(chat(http))
        assert await wait_until(lambda: large.running == 1, 20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await wait_until(lambda: large.aborted == 1, 20)
        hold.set()
    assert (small.aborted, small.running) == (0, 0)
