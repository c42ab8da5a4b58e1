"""The edge in front of a small app, on a real server: in-process transports hide disconnects."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send
from yarl import URL

from bon_common.keys import KeyRing, digest
from bon_common.lifecycle import Lifecycle
from bon_gateway.edge.exchange import record_of
from bon_gateway.edge.middleware import Edge
from bon_gateway.errors import OverloadedError
from bon_gateway.metrics import Metrics
from tests.loop_server import serving_app

CAP = 1000
CHAT = "/v1/chat/completions"


class Collected(logging.Handler):
    """The fields of the records that a logger got."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.got_one = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.got_one.set()

    @property
    def fields(self) -> list[dict[str, Any]]:
        return [record.fields for record in self.records]  # type: ignore[attr-defined]


@dataclass
class Running:
    client: httpx.AsyncClient
    port: int
    metrics: Metrics
    lifecycle: Lifecycle
    access: Collected = field(default_factory=Collected)
    errors: Collected = field(default_factory=Collected)

    async def line(self) -> dict[str, Any]:
        """The access log's first line, once it is there: it comes after the response."""
        await asyncio.wait_for(self.access.got_one.wait(), 10)
        return self.access.fields[0]

    def requests(self, status: int, model: str = "unknown", strategy: str = "unknown") -> float:
        labels = {"model": model, "strategy": strategy, "status": str(status)}
        return self.metrics.registry.get_sample_value("bon_requests_total", labels) or 0.0


async def chat(request: Request) -> Response:
    body = await request.body()
    record = record_of(request.scope)
    record.model, record.strategy, record.n = "a", "best_of_n", 8
    record.winner_tokens, record.discarded_tokens, record.reward = 3, 21, 1.5
    return JSONResponse({"bytes": len(body), "key": record.key_name})


async def swallowing(request: Request) -> Response:
    """As frameworks do that take any failure to read the body for a bad request."""
    try:
        await request.body()
    except Exception:  # noqa: BLE001 - that is what they do
        return JSONResponse({}, status_code=400)
    return JSONResponse({})


async def fail(request: Request) -> Response:
    raise ValueError(f"secret {request.query_params}")


async def overloaded(request: Request) -> Response:
    raise OverloadedError("full", retry_after=2.3)


async def break_off(request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        yield b"first"
        raise ValueError("secret")

    return StreamingResponse(parts())


async def wait_for_client_to_leave(request: Request) -> Response:
    record_of(request.scope).model = "a"
    request.app.state.waiting.set()
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return Response()


async def stream(request: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield b"part"
            await asyncio.sleep(0.01)

    return StreamingResponse(parts())


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    pass


def make_app(keys: KeyRing, metrics: Metrics, lifecycle: Lifecycle) -> Starlette:
    edge = Middleware(Edge, keys=keys, metrics=metrics, lifecycle=lifecycle, max_body_bytes=CAP)
    routes = [
        Route(CHAT, chat, methods=["POST"]),
        Route("/v1/swallowing", swallowing, methods=["POST"]),
        Route("/v1/fail", fail),
        Route("/v1/overloaded", overloaded),
        Route("/v1/break", break_off),
        Route("/v1/wait", wait_for_client_to_leave, methods=["POST"]),
        Route("/v1/stream", stream),
        Route("/v1/silent", endpoint=_Silent),
        Route("/livez", lambda request: Response()),
    ]
    app = Starlette(routes=routes, middleware=[edge])
    app.state.waiting = asyncio.Event()
    return app


class _Silent:
    """An ASGI app that answers nothing."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._answer = silent(scope, receive, send)

    def __await__(self) -> Any:
        return self._answer.__await__()


@asynccontextmanager
async def serve(keys: KeyRing) -> AsyncIterator[tuple[Running, Starlette]]:
    metrics, lifecycle = Metrics(["a"]), Lifecycle()
    app = make_app(keys, metrics, lifecycle)
    async with (
        serving_app(app, access_log=False, lifespan="off", ws="none") as url,
        httpx.AsyncClient(base_url=url) as client,
    ):
        port = URL(url).port
        assert port is not None
        yield Running(client, port, metrics, lifecycle), app


@pytest.fixture
async def opened() -> AsyncIterator[tuple[Running, Starlette]]:
    async with serve(KeyRing()) as running:
        with _collecting(running[0]):
            yield running


@pytest.fixture
async def running(opened: tuple[Running, Starlette]) -> Running:
    return opened[0]


@pytest.fixture
async def guarded() -> AsyncIterator[Running]:
    async with serve(KeyRing({"alice": digest("k1")})) as (running, _):
        with _collecting(running):
            yield running


class _collecting:  # noqa: N801 - reads as a verb
    """Both of the edge's loggers into a Running."""

    def __init__(self, running: Running) -> None:
        self._pairs = [
            (logging.getLogger("bon_gateway.access"), running.access),
            (logging.getLogger("bon_gateway.edge"), running.errors),
        ]

    def __enter__(self) -> None:
        for logger, handler in self._pairs:
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)

    def __exit__(self, *_: object) -> None:
        for logger, handler in self._pairs:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def _quiet_server() -> Iterator[None]:
    logger = logging.getLogger("uvicorn.error")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


async def test_a_request_is_logged_and_counted(running: Running) -> None:
    answer = await running.client.post(f"{CHAT}?secret=1", content=b"x" * CAP)
    assert answer.json() == {"bytes": CAP, "key": None}
    line = await running.line()
    assert answer.headers["x-request-id"] == line["request_id"]
    assert line.pop("duration_ms") > 0
    assert line.pop("request_id").startswith("req-")
    assert line == {
        "method": "POST",
        "path": CHAT,
        "status": 200,
        "first_token_ms": None,
        "client": "127.0.0.1",
        "key": None,
        "model": "a",
        "strategy": "best_of_n",
        "scored_by": None,
        "n": 8,
        "replica": None,
        "prompt_tokens": None,
        "winner_tokens": 3,
        "discarded_tokens": 21,
        "reward": 1.5,
        "degraded": None,
        "error": None,
        "client_left": False,
    }
    assert running.requests(200, "a", "best_of_n") == 1
    assert running.lifecycle.in_flight == 0


async def test_the_callers_request_id_is_kept_if_it_is_sane(running: Running) -> None:
    for sent, kept in [
        ("abc-1", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("a b", False),
        ("ä", False),
    ]:
        headers = [(b"x-request-id", sent.encode("latin-1"))]
        for path in ("/livez", "/v1/nothing", "/v1/fail"):
            answer = await running.client.get(path, headers=headers)
            (given,) = answer.headers.get_list("x-request-id")
            assert (given == sent) == kept, (path, sent)


async def test_api_paths_need_a_key(guarded: Running) -> None:
    for header in ({}, {"authorization": "Bearer k2"}, {"authorization": "k1"}):
        for path in (CHAT, "/v1/models", "/v1/nothing"):
            answer = await guarded.client.post(path, headers=header, content=b"{}")
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["x-request-id"]
            error = answer.json()["error"]
            assert error["type"] == "authentication_error"
            assert error["code"] == "invalid_api_key"
    assert (await guarded.client.get("/livez")).status_code == 200
    assert guarded.requests(401) == 3
    guarded.access.records.clear()
    guarded.access.got_one.clear()
    answer = await guarded.client.post(CHAT, headers={"authorization": "Bearer k1"})
    assert answer.json()["key"] == "alice"
    assert (await guarded.line())["key"] == "alice"


async def too_large_bodies(path: str, running: Running) -> list[httpx.Response]:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(CAP // 100 + 1):
            yield b"x" * 100

    declared = await running.client.post(path, content=b"x" * (CAP + 1))
    received = await running.client.post(path, content=parts())
    assert "transfer-encoding" in received.request.headers
    return [declared, received]


@pytest.mark.parametrize("path", [CHAT, "/v1/swallowing"])
async def test_a_body_over_the_cap_is_413(running: Running, path: str) -> None:
    for answer in await too_large_bodies(path, running):
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "body_too_large"
        assert answer.headers["x-request-id"]


async def test_a_client_that_sends_far_too_much_still_gets_its_413(running: Running) -> None:
    answer = await running.client.post(CHAT, content=b"x" * 20_000_000)
    assert answer.status_code == 413
    assert (await running.client.get("/livez")).status_code == 200


async def test_an_absurd_length_is_413(running: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(b"POST /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999999999999\r\n\r\n")
    assert b" 413 " in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_an_unexpected_exception_becomes_an_error_object(running: Running) -> None:
    answer = await running.client.get("/v1/fail?secret=1")
    assert answer.status_code == 500
    assert answer.json() == {
        "error": {"message": "internal error", "type": "server_error", "code": "internal_error"}
    }
    assert (await running.line())["status"] == 500
    assert (await running.line())["error"] == "internal_error"
    (record,) = running.errors.records
    assert running.errors.fields[0]["error"] == "ValueError"
    assert running.errors.fields[0]["request_id"] == answer.headers["x-request-id"]
    assert record.exc_info is not None
    assert "secret" not in record.getMessage() + json.dumps(running.errors.fields)


async def test_an_error_that_no_handler_takes_keeps_its_status(running: Running) -> None:
    answer = await running.client.get("/v1/overloaded")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "3"
    assert answer.json()["error"]["code"] == "overloaded"
    assert running.errors.records == []


async def test_an_app_that_answers_nothing_is_500(running: Running) -> None:
    assert (await running.client.get("/v1/silent")).json()["error"]["code"] == "internal_error"


async def test_an_exception_after_the_start_breaks_the_answer_off(running: Running) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await running.client.get("/v1/break")
    line = await running.line()
    assert line["status"] == 500
    assert running.errors.fields[0]["response_started"] is True


async def test_a_client_that_leaves_before_the_answer_is_499(
    opened: tuple[Running, Starlette],
) -> None:
    running, app = opened
    _, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(b"POST /v1/wait HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
    await asyncio.wait_for(app.state.waiting.wait(), 10)
    assert running.lifecycle.in_flight == 1
    writer.close()
    line = await running.line()
    assert (line["status"], line["client_left"], line["model"]) == (499, True, "a")
    assert running.lifecycle.in_flight == 0


async def test_a_client_that_leaves_with_its_body_half_sent_is_499(running: Running) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(b"POST " + CHAT.encode() + b" HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nab")
    await writer.drain()
    writer.close()
    assert (await running.line())["status"] == 499
    assert running.errors.records == []
    assert running.requests(499) == 1


async def test_a_client_that_leaves_a_stream_is_499(running: Running) -> None:
    async with running.client.stream("GET", "/v1/stream") as answer:
        async for _ in answer.aiter_bytes():
            break
    assert (await running.line())["status"] == 499


async def test_health_is_not_logged_and_a_drain_sends_clients_away(running: Running) -> None:
    assert "connection" not in (await running.client.get("/livez")).headers
    running.lifecycle.drain()
    assert (await running.client.get("/livez")).headers["connection"] == "close"
    assert (await running.client.post(CHAT)).headers["connection"] == "close"
    assert (await running.line())["path"] == CHAT
    assert len(running.access.records) == 1
