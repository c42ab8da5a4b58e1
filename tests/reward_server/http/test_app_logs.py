"""What the server logs of requests: who, how much and why not, and nothing that was said."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from bon_common.logs import JsonFormatter
from reward_server.errors import BatchMemoryError
from reward_server.testing import FakeForward
from tests.reward_server.http.app_kit import Serve, body, fake_app

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_access_log_tells_who_and_how_much_but_no_text(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(fake_app(FakeForward(), keys="ann:hunter2"))
    headers = {"authorization": "Bearer hunter2", "x-request-id": "abc-1"}
    headers["traceparent"] = TRACE
    with caplog.at_level(logging.DEBUG):
        response = client.post("/v1/score?secret=word", json=body("private"), headers=headers)
        client.post("/v1/score", json=body({"role": "private"}), headers=headers)
    assert response.headers["x-request-id"] == "abc-1"
    lines = [r.fields for r in caplog.records if r.name == "reward_server.access"]  # type: ignore[attr-defined]
    first = next(line for line in lines if line["status"] == 200 and line["path"] == "/v1/score")
    assert first["key"] == "ann"
    assert first["model"] == "fake"
    assert first["client"] == "127.0.0.1"
    assert first["duration_ms"] > 0
    assert first["traceparent"] == TRACE
    assert first["error"] is None
    assert first["sequences"] == 1
    assert first["tokens"] > 0
    assert first["request_id"] == "abc-1"
    refused = next(line for line in lines if line["status"] == 400)
    assert (refused["error"], refused["request_id"]) == ("unrenderable_conversation", "abc-1")
    for text in ("private", "hunter2", "secret"):
        assert text not in repr(
            [vars(record) for record in caplog.records if "reward" in record.name]
        )


def lines_of(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, Any]]:
    """As the process writes them."""
    formatter = JsonFormatter()
    return [json.loads(formatter.format(r)) for r in caplog.records if r.name == name]


def test_lines_about_a_batch_name_its_requests_and_quote_none(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    forward = FakeForward()
    client = serve(fake_app(forward))
    failures: tuple[list[Exception], ...] = (
        [ValueError("private")],
        [BatchMemoryError("no room"), BatchMemoryError("no room")],
    )
    for forward.failures in failures:
        headers = {"x-request-id": "abc-2"}
        assert client.post("/v1/score", json=body("a"), headers=headers).status_code >= 500
    failed, memory = lines_of(caplog, "reward_server.batcher")
    assert (failed["error"], failed["request_ids"]) == ("ValueError", ["abc-2"])
    assert failed["traceback"][-1] == "builtins.ValueError"
    assert (memory["reason"], memory["request_ids"]) == ("no room", ["abc-2"])
    assert "private" not in json.dumps([failed, memory])


def test_an_unexpected_exception_is_logged_with_its_request(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("private")

    app = fake_app(FakeForward())
    client = serve(app)
    app.state.service.scorer().score = broken
    response = client.post("/v1/score", json=body("a"), headers={"x-request-id": "abc-3"})
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert response.headers["x-request-id"] == "abc-3"
    (line,) = lines_of(caplog, "reward_server.edge")
    assert (line["error"], line["request_id"]) == ("ZeroDivisionError", "abc-3")
    assert "private" not in json.dumps([JsonFormatter().format(r) for r in caplog.records])
    assert client.get("/livez").status_code == 200
