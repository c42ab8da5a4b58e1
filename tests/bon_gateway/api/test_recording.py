"""The candidate log, from a request on the wire to the line in the file."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from bon_gateway.errors import PolicyFailedError
from bon_gateway.testing.fakes import Act, FakePolicy, completion
from tests.bon_gateway.api.conftest import Setup, serving

BROKEN = PolicyFailedError("broken")


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Any]:
    """Serve with the log in a folder, do something, stop; the records that were written."""

    async def run(
        act: Callable[[Any], Awaitable[Any]], *, setup: dict[str, Any] | None = None, **log: Any
    ) -> list[Any]:
        settings = {"recording": {"folder": str(tmp_path / "log"), **log}}
        async with AsyncExitStack() as stack:
            served = await stack.enter_async_context(
                serving(Setup(settings=settings, **(setup or {})))
            )
            await act(served)
        # Its writer has ended, so nothing is still on its way.
        assert "recording" not in [thread.name for thread in threading.enumerate()]
        return [
            json.loads(line)
            for path in (tmp_path / "log").glob("*.jsonl")
            for line in path.read_text().splitlines()
        ]

    return run


async def test_an_answer_is_recorded_with_all_candidates(record: Callable[..., Any]) -> None:
    async def act(served: Any) -> None:
        headers = {"x-request-id": "mine"}
        body = {
            "model": "best",
            "messages": [{"role": "user", "content": "hi"}],
            "temperature": 0.7,
            "seed": 3,
        }
        response = await served.http.post("/v1/chat/completions", json=body, headers=headers)
        assert response.status_code == 200

    (line,) = await record(act)
    assert line["request_id"] == "mine"
    assert (line["model"], line["policy"], line["reward"]) == ("best", "p", "r")
    assert line["policy_revision"] is None
    assert (line["strategy"], line["n"], line["winner"], line["seed"]) == ("best_of_n", 4, 3, 3)
    assert line["messages"] == [{"role": "user", "content": "hi"}]
    assert line["sampling"] == {"temperature": 0.7}
    assert [c["reward"] for c in line["candidates"]] == [0.0, 1.0, 2.0, 3.0]
    assert [c["message"]["content"] for c in line["candidates"]] == [
        f"answer {i}" for i in range(4)
    ]
    assert (line["degraded"], line["error"]) == (None, None)


@pytest.mark.parametrize(("model", "strategy"), [("best", "best_of_n"), ("one", "single")])
async def test_streamed_answers_are_recorded_too(
    record: Callable[..., Any], model: str, strategy: str
) -> None:
    async def act(served: Any) -> None:
        response = await served.chat(model=model, stream=True)
        assert response.text.endswith("data: [DONE]\n\n")

    (line,) = await record(act)
    assert line["strategy"] == strategy
    winner = line["candidates"][line["winner"]]
    assert winner["message"]["content"] == {"best": "answer 3", "one": "one two three"}[model]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failed_request_is_recorded_with_its_error(
    record: Callable[..., Any], stream: bool
) -> None:
    async def act(served: Any) -> None:
        response = await served.chat(stream=stream)
        assert response.status_code == 502

    policy = FakePolicy({i: Act((BROKEN,)) for i in range(4)})
    (line,) = await record(act, setup={"policy": policy})
    assert line["error"] == "upstream_error"
    assert (line["candidates"], line["winner"]) == ([], None)
    assert line["messages"] == [{"role": "user", "content": "hi"}]


async def test_refused_requests_and_clients_that_left_are_not_recorded(
    record: Callable[..., Any],
) -> None:
    policy = FakePolicy({0: Act()})

    async def act(served: Any) -> None:
        assert (await served.chat(n=100)).status_code == 400
        assert (await served.chat(model="none")).status_code == 404
        body = {"model": "best", "messages": [{"role": "user", "content": "hi"}]}
        with pytest.raises(httpx.ReadTimeout):
            await served.http.post("/v1/chat/completions", json=body, timeout=0.3)
        while policy.running:
            await asyncio.sleep(0.01)
        policy.acts = {}
        assert (await served.chat(model="one")).status_code == 200

    lines = await record(act, setup={"policy": policy})
    assert [line["model"] for line in lines] == ["one"]


async def test_the_share_is_decided_by_the_request_id(record: Callable[..., Any]) -> None:
    async def act(served: Any) -> None:
        for _ in range(2):
            for number in range(40):
                await served.http.post(
                    "/v1/chat/completions",
                    json={"model": "one", "messages": [{"role": "user", "content": "hi"}]},
                    headers={"x-request-id": f"id-{number}"},
                )

    ids = [line["request_id"] for line in await record(act, sample_rate=0.5)]
    assert 0 < len(set(ids)) < 40
    assert sorted(ids) == sorted([*set(ids), *set(ids)])


async def test_texts_are_redacted_and_in_no_log_line(
    record: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def act(served: Any) -> None:
        messages = [{"role": "user", "content": "my code is 4711", "name": "ann"}]
        assert (await served.chat(messages=messages, user="u-4711")).status_code == 200

    (line,) = await record(act, redact=[r"\d{4}"], redact_fields=["name"])
    assert line["messages"] == [{"role": "user", "content": "my code is [redacted]"}]
    assert line["sampling"] == {"user": "u-[redacted]"}
    assert "my code" not in caplog.text


async def test_a_folder_that_cannot_be_written_costs_no_request(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    settings = {"recording": {"folder": str(tmp_path / "file" / "log")}}
    async with serving(Setup(settings=settings)) as served:
        assert (await served.chat()).status_code == 200
        assert (await served.chat(stream=True)).status_code == 200
    assert served.metric("bon_recorded_total", outcome="failed") == 2


async def test_nothing_is_written_unless_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with serving(Setup()) as served:
        assert (await served.chat()).status_code == 200
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - pathlib's would be called blocking here
    assert served.metric("bon_recorded_total", outcome="written") == 0


async def test_confidence_is_recorded_where_it_was_measured(record: Callable[..., Any]) -> None:
    drawn = {i: Act((completion("so", logprobs=(-1.0 - i, -2.0)),)) for i in range(4)}

    async def act(served: Any) -> None:
        assert (await served.chat(bon={"strategy": "confidence"})).status_code == 200
        assert (await served.chat(logprobs=True)).status_code == 200

    measured, asked = sorted(
        await record(act, setup={"policy": FakePolicy(drawn)}),
        key=lambda line: "logprobs" in line["sampling"],
    )
    assert [each["confidence"] for each in measured["candidates"]] == [-1.5, -2.0, -2.5, -3.0]
    assert (measured["v"], measured["strategy"], measured["winner"]) == (1, "confidence", 0)
    # The request as the client sent it.
    assert measured["sampling"] == {}
    assert not any("logprob" in each for each in measured["candidates"])
    assert not any("confidence" in each for each in asked["candidates"])
    assert asked["candidates"][1]["logprob"] == -4.0
