"""Rewards made of others, from the settings to the answer, the log and the metrics: two reward
servers on real sockets."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from bon_gateway.app import create_app
from bon_gateway.settings.tree import Settings
from bon_gateway.testing.script import Call, Script, Step
from bon_gateway.testing.upstream import FakeUpstream
from tests.loop_server import serving_app
from tests.waiting import until

N = 4
TEXTS = ("1 40", "2 10", "3 30", "4 0")
"""What the candidates say: the rewards of both reward models."""


def generating(call: Call) -> Step:
    return Step(text=TEXTS[(call.candidate or 0) % N])


def scoring(place: int, broken: Callable[[], bool] = lambda: False) -> Script:
    """A reward server whose reward is one of the answer's numbers."""

    def script(call: Call) -> Step:
        if broken():
            return Step(status=500)
        completions = call.body["items"][0]["completions"]
        rewards = [float((c["content"].split() * 2)[place]) if c["content"][0].isdigit() else 0.0
                   for c in completions]  # fmt: skip
        result = {"rewards": rewards, "tokens": [7 + place] * len(rewards)}
        result["truncated"] = [False] * len(rewards)
        return Step(raw=orjson.dumps({"model": "fake", "results": [result]}))

    return script


class Served:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def ask(self, model: str, **body: Any) -> dict[str, Any]:
        messages = [{"role": "user", "content": "hi"}]
        body = {"model": model, "messages": messages, **body}
        answer = await self._http.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["bon"]
        return found

    async def get(self, path: str) -> httpx.Response:
        return await self._http.get(path)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Served]:
    app = create_app(settings, environ={})
    async with (
        serving_app(app) as url,
        httpx.AsyncClient(base_url=url, timeout=20, verify=False) as http,
    ):
        await until(app.state.gateway.ready, what="all are up")
        yield Served(http)


@pytest.fixture
async def upstreams() -> AsyncIterator[dict[str, FakeUpstream]]:
    async with (
        FakeUpstream(generating) as policy,
        FakeUpstream(scoring(0)) as helpful,
        FakeUpstream(scoring(1)) as safe,
    ):
        yield {"policy": policy, "helpful": helpful, "safe": safe}


def settings(
    upstreams: dict[str, FakeUpstream], rewards: dict[str, Any] | None = None, **extra: Any
) -> Settings:
    """``rewards`` has further keys of some of them."""
    best = {"type": "best_of_n", "n": N, "retries": 0}
    fixed = [{"reward": "helpful", "mean": 0, "std": 1}, {"reward": "safe", "mean": 0, "std": 10}]
    policy = {"type": "vllm", "urls": [upstreams["policy"].url], "fan_out": "separate"}
    described: dict[str, dict[str, Any]] = {
        "helpful": {"type": "reward_server", "urls": [upstreams["helpful"].url]},
        "safe": {"type": "reward_server", "urls": [upstreams["safe"].url]},
        "both": {"type": "ensemble", "members": fixed},
        "worst": {"type": "ensemble", "members": fixed, "combine": "min"},
    }
    for name, keys in (rewards or {}).items():
        described[name] |= keys
    models = {name: {"policy": "p", "reward": name, "strategy": best} for name in described}
    tree = {"policies": {"p": policy}, "rewards": described, "models": models, **extra}
    return Settings.model_validate(tree)


def logged(folder: Path) -> dict[str, Any]:
    """The line of each served model."""
    lines = [
        json.loads(line) for path in folder.iterdir() for line in path.read_text().splitlines()
    ]
    return {line["model"]: line for line in lines}


async def test_the_joint_reward_chooses_and_is_explained(
    upstreams: dict[str, FakeUpstream], tmp_path: Path
) -> None:
    recording = {"folder": str(tmp_path)}
    async with serving(settings(upstreams, recording=recording)) as served:
        found = {model: await served.ask(model) for model in ("helpful", "safe", "both", "worst")}
    assert {model: bon["winner"] for model, bon in found.items()} == {
        "helpful": 3,
        "safe": 0,
        # (1 + 4) / 2, (2 + 1) / 2, (3 + 3) / 2, (4 + 0) / 2
        "both": 2,
        "worst": 2,
    }
    bon = found["both"]
    assert [c["reward"] for c in bon["candidates"]] == pytest.approx([2.5, 1.5, 3.0, 2.0])
    assert bon["candidates"][2]["rewards"] == {"helpful": 3.0, "safe": 30.0}
    # 7 tokens of each answer for one reward model, and 8 for the other.
    assert bon["usage"]["reward_tokens"] == N * 15
    assert [c["reward"] for c in found["worst"]["candidates"]] == pytest.approx([1, 1, 3, 0])
    assert "rewards" not in found["helpful"]["candidates"][0]

    lines = await asyncio.to_thread(logged, tmp_path)
    assert lines["both"]["reward"] == "both"
    assert lines["both"]["candidates"][0]["rewards"] == {"helpful": 1.0, "safe": 40.0}
    assert "rewards" not in lines["helpful"]["candidates"][0]


async def test_members_are_named_once_in_health_and_metrics(
    upstreams: dict[str, FakeUpstream],
) -> None:
    async with serving(settings(upstreams)) as served:
        for model in ("both", "worst", "helpful"):
            await served.ask(model)
        ready = (await served.get("/readyz")).json()
        text = (await served.get("/metrics")).text
    names = [name for name in ready["upstreams"] if name.startswith("rewards.")]
    assert [name.split(".")[1] for name in names] == ["helpful", "safe"]
    calls = dict(re.findall(r'bon_score_seconds_count\{reward="(\w+)"\} ([\d.]+)', text))
    assert set(calls) == {"helpful", "safe"}
    assert float(calls["helpful"]) > float(calls["safe"]) >= 2
    assert set(re.findall(r'backend="(rewards\.\w+)"', text)) == {"rewards.helpful", "rewards.safe"}


async def test_a_member_that_is_down_is_left_out_and_said(
    upstreams: dict[str, FakeUpstream],
) -> None:
    down = asyncio.Event()
    upstreams["safe"].script = scoring(1, down.is_set)
    async with serving(settings(upstreams, {"worst": {"on_missing": "fail"}})) as served:
        whole = await served.ask("both")
        down.set()
        bon, strict = await served.ask("both"), await served.ask("worst")
        text = (await served.get("/metrics")).text
    assert (whole["winner"], whole["degraded"], "left_out" in whole) == (2, None, False)
    assert (bon["winner"], bon["degraded"], bon["left_out"]) == (3, "rewards_left_out", ["safe"])
    assert [c["rewards"] for c in bon["candidates"]] == [{"helpful": i + 1.0} for i in range(N)]
    assert 'bon_rewards_left_out_total{model="both",reward="safe"} 1.0' in text
    assert (strict["winner"], strict["degraded"]) == (0, "reward_unavailable")
    assert all(c["reward"] is None and "rewards" not in c for c in strict["candidates"])


async def test_all_members_down(upstreams: dict[str, FakeUpstream]) -> None:
    down = asyncio.Event()
    for place, name in enumerate(("helpful", "safe")):
        upstreams[name].script = scoring(place, down.is_set)
    async with serving(settings(upstreams)) as served:
        down.set()
        bon = await served.ask("both")
    assert (bon["winner"], bon["degraded"]) == (0, "reward_unavailable")
    assert all(c["reward"] is None and "rewards" not in c for c in bon["candidates"])


async def test_a_served_model_has_rewards_of_its_own(
    upstreams: dict[str, FakeUpstream], tmp_path: Path
) -> None:
    def labelling(call: Call) -> Step:
        """Two labels: the answer's first number and its second. The reward is their sum."""
        completions = call.body["items"][0]["completions"]
        read = [[float(w) if w.isdigit() else 0.0 for w in (c["content"].split() * 2)[:2]]
                for c in completions]  # fmt: skip
        columns = [[row[place] for row in read] for place in range(2)]
        result = {"rewards": [sum(row) for row in read], "tokens": [5] * len(read)}
        result |= {"truncated": [False] * len(read)}
        labels = {"a": columns[0], "b": columns[1]}
        return Step(raw=orjson.dumps({"model": "fake", "results": [{**result, "labels": labels}]}))

    upstreams["safe"].script = labelling
    wanted = settings(upstreams, recording={"folder": str(tmp_path)}).model_dump(mode="json")
    own = [
        {"reward": "safe", "label": "b", "mean": 0, "std": 20},
        {"reward": "safe", "label": "a", "mean": 0, "std": 1},
    ]
    best = {"type": "best_of_n", "n": N, "retries": 0}
    wanted["models"] = {
        "own": {"policy": "p", "rewards": own, "combine": "lexicographic", "strategy": best}
        | {"tolerance": 1}
    }
    async with serving(Settings.model_validate(wanted)) as served:
        asked = len(upstreams["safe"].calls)
        bon = await served.ask("own")
        calls = upstreams["safe"].calls[asked:]
        listed = (await served.get("/v1/models")).json()["data"][0]
    # Their second numbers are 2, 0.5, 1.5 and 0 standard deviations; only whole ones count.
    assert [c["reward"] for c in bon["candidates"]] == pytest.approx([2, 0, 1, 0], abs=1)
    assert (bon["winner"], bon["candidates"][0]["rewards"]) == (0, {"safe.b": 40.0, "safe.a": 1.0})
    assert bon["candidates"][3]["reward"] > bon["candidates"][1]["reward"]
    assert sum(len(call.body["items"][0]["completions"]) for call in calls) == N
    assert bon["usage"]["reward_tokens"] == N * 5
    assert listed["bon"]["reward"] == "models.own.rewards"
    assert (await asyncio.to_thread(logged, tmp_path))["own"]["reward"] == "models.own.rewards"


async def test_learnt_scales_make_units_equal(upstreams: dict[str, FakeUpstream]) -> None:
    """Raw, `safe` would decide alone: its numbers are ten times as large."""
    members = [{"reward": "helpful", "weight": 2}, {"reward": "safe"}]
    wanted = settings(upstreams, {"both": {"members": members}})
    async with serving(wanted) as served:
        for _ in range(10):
            bon = await served.ask("both")
    z = {"helpful": 1.25**0.5, "safe": 2.5**0.5 * 10}
    expected = [
        (2 * (a - 2.5) / z["helpful"] + (b - 20) / z["safe"]) / 3
        for a, b in [(1, 40), (2, 10), (3, 30), (4, 0)]
    ]
    # The first call of the last request may have been for some of its answers alone.
    assert [c["reward"] for c in bon["candidates"]] == pytest.approx(expected, abs=0.15)
    assert bon["winner"] == 2


async def test_length_is_taken_out_of_a_reward(upstreams: dict[str, FakeUpstream]) -> None:
    def writing(call: Call) -> Step:
        return Step(text=f"{call.candidate} {'0' * 10 * (call.candidate or 0)}")

    upstreams["policy"].script = writing
    calibration = {"slope": 0.2, "reference": 2}
    wanted = settings(upstreams, {"helpful": {"length_calibration": calibration}})
    async with serving(wanted) as served:
        bon = await served.ask("helpful")
    # Candidate i is worth i, and has 10 i characters beyond the first two.
    assert [c["reward"] for c in bon["candidates"]] == pytest.approx([0, -1, -2, -3])
    assert bon["winner"] == 0
