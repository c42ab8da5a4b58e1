"""A served model with verifiers, through the whole app and a hook on a real socket."""

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
from bon_gateway.gateway import Gateway, same_backends
from bon_gateway.settings.tree import Settings
from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.api.serving import client_of
from tests.waiting import until


def settings_for(engine: FakeUpstream, hook: FakeUpstream, **served: Any) -> Settings:
    verifier = [
        {"type": "length", "max": 3},
        {"type": "http", "name": "hook", "url": f"{hook.url}/verify", "retries": 0},
    ]
    policy = {"type": "vllm", "urls": [engine.url], "fan_out": "separate", "probe_interval_s": 0.1}
    model = {
        "policy": "p",
        "reward": "r",
        "strategy": {"type": "best_of_n", "n": 3, "retries": 0},
        "verifier": verifier,
        **served,
    }
    return Settings.model_validate(
        {
            "policies": {"p": policy},
            "rewards": {"r": {"type": "reward_server", "urls": [engine.url]}},
            "models": {"m": model},
        }
    )


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[httpx.AsyncClient, ServingApp]]:
    app = create_app(settings, environ={})
    async with client_of(app) as http:
        yield http, app


async def chat(http: httpx.AsyncClient, **body: Any) -> httpx.Response:
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **body}
    return await http.post("/v1/chat/completions", json=asked)


def saying(*texts: str) -> FakeUpstream:
    """An engine with these candidates. A longer one has the higher reward."""

    def script(call: Call) -> Step:
        if call.candidate is None or "completions" not in call.path:
            return Step(reward=1.0)
        return Step(text=texts[call.candidate])

    return FakeUpstream(script)


def recorded(folder: Path) -> dict[str, Any]:
    """The one request in the candidate log."""
    [file] = folder.glob("*.jsonl*")
    record: dict[str, Any] = json.loads(file.read_text())
    return record


async def test_verdicts_stand_in_the_answer_the_log_and_the_metrics(tmp_path: Path) -> None:
    async with saying("wrong", "right", "one two three four") as engine, FakeUpstream() as hook:
        settings = settings_for(engine, hook)
        recording = settings.recording.model_copy(update={"folder": str(tmp_path)})
        settings = settings.model_copy(update={"recording": recording})
        async with serving(settings) as (http, app):
            answer = (await chat(http, metadata={"reference": "x"})).json()
        assert answer["choices"][0]["message"]["content"] == "right"
        assert answer["bon"]["degraded"] is None
        passed = {"outcome": "pass", "reason": None, "score": None}
        assert [one["verdicts"] for one in answer["bon"]["candidates"]] == [
            {"length": passed, "hook": {"outcome": "fail", "reason": "is_wrong", "score": 0.0}},
            {"length": passed, "hook": {"outcome": "pass", "reason": None, "score": 1.0}},
            {"length": {"outcome": "fail", "reason": "too_long", "score": None}},
        ]
        assert hook.requests == 2
        assert all(call.body["metadata"] == {"reference": "x"} for call in hook.calls)
        labels = {"model": "m", "verifier": "hook", "outcome": "fail"}
        count = app.state.metrics.registry.get_sample_value("bon_verdicts_total", labels)
        assert count == 1
        assert recorded(tmp_path)["candidates"][0]["verdicts"]["hook"]["reason"] == "is_wrong"


async def test_a_hook_that_is_down_is_marked() -> None:
    async with (
        saying("a", "b", "c") as engine,
        FakeUpstream(lambda _: Step(status=500)) as hook,
        serving(settings_for(engine, hook)) as (http, _),
    ):
        response = await chat(http)
    assert response.status_code == 200
    assert response.json()["bon"]["degraded"] == "verification_abstained"
    assert response.headers["x-bon-degraded"] == "verification_abstained"


@pytest.mark.parametrize("stream", [False, True])
async def test_all_failed_may_be_an_error(stream: bool) -> None:
    async with saying("wrong", "wrong too", "wrong") as engine, FakeUpstream() as hook:
        settings = settings_for(engine, hook, on_all_failed="error")
        async with serving(settings) as (http, _):
            response = await chat(http, stream=stream)
    assert response.status_code == 502
    error = response.json()["error"]
    assert error["code"] == "no_valid_candidate"
    assert error["message"] == "the verifiers failed all candidates: hook: is_wrong (3)"


async def test_a_client_that_leaves_cancels_the_calls() -> None:
    never = asyncio.Event()
    async with (
        saying("a", "b", "c") as engine,
        FakeUpstream(lambda _: Step(hold=never)) as hook,
        serving(settings_for(engine, hook)) as (http, _),
    ):
        asking = asyncio.ensure_future(chat(http))
        await until(lambda: hook.running == 3)
        asking.cancel()
        await until(lambda: hook.running == 0)
        assert hook.aborted == 3


async def test_a_slow_hook_does_not_outlive_the_deadline() -> None:
    never = asyncio.Event()
    async with (
        saying("a", "b", "c") as engine,
        FakeUpstream(lambda _: Step(hold=never)) as hook,
        serving(settings_for(engine, hook)) as (http, _),
    ):
        answer = (await chat(http, bon={"deadline_ms": 500})).json()
        await until(lambda: hook.running == 0)
    assert answer["bon"]["degraded"] == "deadline, verification_abstained"
    assert answer["bon"]["candidates"][0]["verdicts"]["hook"]["reason"] == "deadline"


async def test_a_request_cannot_choose_a_strategy_that_verifies_nothing() -> None:
    async with (
        saying("a", "b", "c") as engine,
        FakeUpstream() as hook,
        serving(settings_for(engine, hook)) as (http, _),
    ):
        response = await chat(http, bon={"strategy": "single"})
        streamed = await chat(http, bon={"strategy": "majority"}, stream=True)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "bon.strategy"
    assert "verifies nothing" in response.json()["error"]["message"]
    assert streamed.status_code == 200


async def test_a_reload_keeps_verifiers_whose_settings_are_the_same() -> None:
    async with saying("a", "b", "c") as engine, FakeUpstream() as hook:
        settings = settings_for(engine, hook)
        async with serving(settings) as (_, app):
            running: Gateway = app.state.gateway
            same = settings_for(engine, hook, strategy={"type": "majority", "n": 3})
            other = settings_for(engine, hook, on_all_failed="error")
            panels = []
            for after in (same, other):
                new: Gateway = create_app(after, environ={}).state.gateway
                new = new.with_backends_of(running, same_backends(settings, after))
                panels.append(new.models["m"].verifiers)
                for part in new.parts:
                    if part not in running.parts:
                        await part.close()
            assert panels[0] is running.models["m"].verifiers
            assert panels[1] is not running.models["m"].verifiers


async def test_a_tool_call_beside_a_verifier_of_text_is_not_degraded() -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]

    def script(call: Call) -> Step:
        if call.candidate is None or "completions" not in call.path:
            return Step(reward=1.0)
        return Step(text="", tool_calls=calls, finish_reason="tool_calls")

    async with FakeUpstream(script) as engine, FakeUpstream() as hook:
        settings = settings_for(engine, hook, verifier=[{"type": "length", "max": 3, "min": 1}])
        async with serving(settings) as (http, _):
            answer = (await chat(http)).json()
    assert answer["choices"][0]["message"]["tool_calls"]
    assert answer["bon"]["degraded"] is None
    abstained = {"outcome": "abstain", "reason": "only_tool_calls", "score": None}
    assert answer["bon"]["candidates"][0]["verdicts"] == {"length": abstained}


@pytest.mark.parametrize("metadata", [["42"], "42", 42])
async def test_metadata_is_an_object(metadata: Any) -> None:
    async with (
        saying("a", "b", "c") as engine,
        FakeUpstream() as hook,
        serving(settings_for(engine, hook)) as (http, _),
    ):
        answer = await chat(http, metadata=metadata)
        without = await chat(http, metadata=None)
    assert (answer.status_code, without.status_code) == (400, 200)
    assert answer.json()["error"]["param"] == "metadata"
