"""Embedders from the settings to the answer and the metrics: an embedder on a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from bon_gateway.app import create_app
from bon_gateway.factory import build_gateway
from bon_gateway.gateway import same_backends
from bon_gateway.metrics import Metrics
from bon_gateway.settings.tree import Settings
from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream
from tests.loop_server import serving_app
from tests.waiting import until

TEXTS = ("one two", "two one", "three", "aaa bbb three")
"""The fake embedder counts the lengths of words: the first two are equal to it, and the last is
like all others."""
KEY = "EMBEDDER_KEY"


def generating(call: Call) -> Step:
    return Step(text=TEXTS[(call.candidate or 0) % len(TEXTS)])


def settings(policy: str, embedder: str, **keys: Any) -> Settings:
    described = {"type": "embeddings", "urls": [embedder], "api_key_env": KEY, **keys}
    draw = {"n": len(TEXTS), "retries": 0}
    similar = {"type": "embedder", "embedder": "e"}
    semantic = {"type": "semantic", "embedder": "e", "threshold": 0.99}
    return Settings.model_validate(
        {
            "policies": {"p": {"type": "vllm", "urls": [policy], "fan_out": "separate"}},
            "embedders": {"e": described},
            "models": {
                "similar": {"policy": "p", "strategy": {"type": "mbr", **draw}
                            | {"similarity": similar, "beta": None}},
                "meaning": {"policy": "p", "strategy": {"type": "majority", **draw}
                            | {"extract": semantic}},
            },
        }
    )  # fmt: skip


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    environ = {KEY: "secret"}
    app = create_app(
        settings,
        environ=environ,
        build=lambda given, metrics: build_gateway(given, metrics, environ),
    )
    async with (
        serving_app(app) as url,
        httpx.AsyncClient(base_url=url, timeout=20, verify=False) as http,
    ):
        gateway = app.state.gateway
        await until(gateway.ready, what="the policy is up")
        await until(gateway.embedders["e"].ready, what="the embedder is up")
        yield http


async def ask(http: httpx.AsyncClient, model: str, **bon: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "hi"}]
    body: dict[str, Any] = {"model": model, "messages": messages}
    answer = await http.post("/v1/chat/completions", json=body | ({"bon": bon} if bon else {}))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["bon"]
    return found


async def test_answers_are_compared_by_meaning() -> None:
    async with (
        FakeUpstream(generating) as policy,
        FakeUpstream(api_key="secret", model="e5") as embedder,
        serving(settings(policy.url, embedder.url)) as http,
    ):
        similar, meaning = await ask(http, "similar"), await ask(http, "meaning")
        # The operator's way to compare stays with another strategy that votes.
        other = await ask(http, "meaning", strategy="borda")
        metrics = (await http.get("/metrics")).text
        ready = (await http.get("/readyz")).json()
    assert (similar["winner"], meaning["winner"], other["winner"] in (0, 1)) == (3, 0, True)
    for bon in (similar, meaning, other):
        assert 0 < bon["details"]["diversity"] < 1
    assert (similar["degraded"], meaning["degraded"]) == (None, None)
    sent = [call for call in embedder.calls if call.path == "/v1/embeddings"]
    assert sorted(sent[1].body["input"]) == sorted(TEXTS)
    assert {call.headers["authorization"] for call in sent} == {"Bearer secret"}
    assert not [call for call in policy.calls if "authorization" in call.headers]
    assert 'bon_diversity_count{model="similar"} 1.0' in metrics
    assert 'bon_embed_seconds_count{embedder="e"} 3.0' in metrics
    assert any(name.startswith("embedders.e.") for name in ready["upstreams"])


async def test_an_embedder_that_is_down_degrades_the_answer_alone() -> None:
    broken = asyncio.Event()

    def script(call: Call) -> Step:
        return Step(status=500) if broken.is_set() else Step()

    async with (
        FakeUpstream(generating) as policy,
        FakeUpstream(script, api_key="secret") as embedder,
        serving(settings(policy.url, embedder.url)) as http,
    ):
        broken.set()
        similar, meaning = await ask(http, "similar"), await ask(http, "meaning")
        metrics = (await http.get("/metrics")).text
        await embedder.stop()
        gone = await ask(http, "meaning")
        ready = await http.get("/readyz")
    for bon in (similar, meaning, gone):
        assert (bon["degraded"], "details" in bon) == ("embedder_unavailable", False)
    assert 'bon_embed_errors_total{code="embedder_unavailable",embedder="e"} 2.0' in metrics
    assert ready.status_code == 200


def test_a_reload_keeps_an_embedder_that_stays() -> None:
    here = "http://127.0.0.1:9"
    before, after = settings(here, here), settings(here, here, max_chars=10)
    environ = {KEY: "secret"}
    running = build_gateway(before, Metrics(), environ)
    assert "embedders.e" in running.backends
    for new, kept in [(before, True), (after, False)]:
        made = build_gateway(new, Metrics(), environ)
        gateway = made.with_backends_of(running, same_backends(before, new))
        assert (gateway.embedders["e"] is running.embedders["e"]) is kept
        assert gateway.policies["p"] is running.policies["p"]
