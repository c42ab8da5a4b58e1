"""The edge of the app: what every request passes, whatever route answers it.

``Edge`` gives the request its id, checks the API key, caps the body, counts and logs, and is the
one place where an unexpected exception is caught. It is plain ASGI, because anything that buffers
would hide a client's leaving and hold streams back. It belongs inside the framework's own error
handler (``app.add_middleware``), so that no exception gets there.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bon_gateway.auth import KeyRing
from bon_gateway.errors import (
    AuthenticationError,
    BadRequestError,
    BodyTooLargeError,
    GatewayError,
    OverloadedError,
)
from bon_gateway.lifecycle import Lifecycle
from bon_gateway.metrics import Metrics

CLIENT_LEFT = 499
"""Status in log and metrics when the client left before its answer was complete."""
COMPLETIONS_PATH = "/v1/chat/completions"
LONGEST_LENGTH = 18
"""Digits of a content-length that are worth converting."""
LONGEST_PATH = 256
"""Characters of a path that are worth logging."""
HEALTH_PATHS = frozenset({"/livez", "/readyz", "/metrics"})

_REQUEST_ID = re.compile(rb"[!-~]{1,128}")
_log = logging.getLogger("bon_gateway.edge")
_access_log = logging.getLogger("bon_gateway.access")


@dataclass(slots=True)
class RequestRecord:
    """What is known of one request, for its log line; at ``scope["bon_record"]``.

    The route fills what the edge cannot know. It holds nothing that a client or a model wrote.
    """

    request_id: str
    started: float
    """``time.perf_counter()`` when the request's head had arrived."""
    key_name: str | None = None
    model: str | None = None
    """A served model's name; to be set only when it is one."""
    strategy: str | None = None
    n: int | None = None
    winner_tokens: int | None = None
    discarded_tokens: int | None = None
    reward: float | None = None
    degraded: str | None = None
    """What was lost, as short codes."""
    error: str | None = None
    """The code of the error that was answered."""
    client_left: bool = False


class Edge:
    """ASGI middleware; one instance for each app."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: KeyRing,
        metrics: Metrics,
        lifecycle: Lifecycle,
        max_body_bytes: int,
        access_log: bool = True,
    ) -> None:
        self._app = app
        self._keys = keys
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._max_body_bytes = max_body_bytes
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._max_body_bytes, self._lifecycle)
        counted = scope["path"] not in HEALTH_PATHS
        if counted:
            self._lifecycle.enter()
            self._metrics.set_requests_in_flight(self._lifecycle.in_flight)
        try:
            failure = self._refusal(exchange) or await self._run(exchange)
            if failure is not None:
                await exchange.fail(failure)
        finally:
            if counted:
                self._lifecycle.leave()
                self._metrics.set_requests_in_flight(self._lifecycle.in_flight)
            self._account(exchange, counted)

    def _refusal(self, exchange: _Exchange) -> GatewayError | None:
        """Why the request goes no further, by its head alone."""
        path: str = exchange.scope["path"]
        if path.startswith("/v1/") and not self._keys.open:
            owner = self._keys.owner(exchange.authorization)
            if owner is None:
                return AuthenticationError("a valid API key is needed: Authorization: Bearer ...")
            exchange.record.key_name = owner
        declared = exchange.content_length
        if declared is None:
            return None
        if not declared.isdigit():
            return BadRequestError("content-length is not a number")
        if len(declared) > LONGEST_LENGTH or int(declared) > self._max_body_bytes:
            return _too_large(self._max_body_bytes)
        return None

    async def _run(self, exchange: _Exchange) -> GatewayError | None:
        """Let the app answer; the error that is still to be answered, if there is one."""
        try:
            await self._app(exchange.scope, exchange.receive, exchange.send)
        except GatewayError as error:
            failure: GatewayError | None = error
        except ClientDisconnect:
            exchange.record.client_left = True
            failure = None
        except asyncio.CancelledError:
            # The server cancels what outlives its grace time. Nobody waits for this task, and a
            # proper answer is worth more to the client than a cut connection.
            failure = OverloadedError("the gateway is stopping", code="draining", retry_after=1)
        except Exception as error:  # noqa: BLE001 - the one capture point
            fields = {
                "request_id": exchange.record.request_id,
                "error": type(error).__name__,
                "response_started": exchange.status is not None,
            }
            _log.error("unexpected exception", exc_info=error, extra={"fields": fields})
            failure = GatewayError("internal error")
        else:
            failure = None
            if exchange.status is None and not exchange.record.client_left:
                failure = GatewayError("internal error")
        return exchange.overflow or failure

    def _account(self, exchange: _Exchange, counted: bool) -> None:
        seconds = perf_counter() - exchange.record.started
        record = exchange.record
        status = CLIENT_LEFT if record.client_left else exchange.status or 500
        scope = exchange.scope
        if scope["path"] == COMPLETIONS_PATH and scope["method"] == "POST":
            self._metrics.observe_request(record.model, record.strategy, status, seconds)
        level = logging.INFO if counted else logging.DEBUG
        if not self._access_log or not _access_log.isEnabledFor(level):
            return
        fields = {
            "request_id": record.request_id,
            "method": scope["method"],
            "path": scope["path"][:LONGEST_PATH],
            "status": status,
            "duration_ms": round(seconds * 1000, 2),
            "key": record.key_name,
            "model": record.model,
            "strategy": record.strategy,
            "n": record.n,
            "winner_tokens": record.winner_tokens,
            "discarded_tokens": record.discarded_tokens,
            "reward": record.reward,
            "degraded": record.degraded,
            "error": record.error,
            "client_left": record.client_left,
        }
        # Straight to the handlers: Logger.log would first look for the calling line.
        line = logging.LogRecord(_access_log.name, level, "", 0, "request", None, None)
        line.fields = fields
        _access_log.handle(line)


class _Exchange:
    """One request and its response, watched from both sides."""

    __slots__ = (
        "_left_bytes",
        "_lifecycle",
        "_max_body_bytes",
        "_receive",
        "_send",
        "authorization",
        "complete",
        "content_length",
        "overflow",
        "record",
        "scope",
        "status",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        max_body_bytes: int,
        lifecycle: Lifecycle,
    ) -> None:
        started = perf_counter()
        self.scope = scope
        self._receive = receive
        self._send = send
        self._lifecycle = lifecycle
        self._max_body_bytes = max_body_bytes
        self._left_bytes = max_body_bytes
        self.authorization: str | None = None
        self.content_length: bytes | None = None
        self.overflow: BodyTooLargeError | None = None
        self.status: int | None = None
        """Of the response, once it has started."""
        self.complete = False
        request_id: str | None = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                self.authorization = value.decode("latin-1")
            elif name == b"content-length":
                self.content_length = value
            elif name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                request_id = value.decode("ascii")
        self.record = RequestRecord(request_id or f"req-{os.urandom(16).hex()}", started)
        scope["bon_record"] = self.record

    async def receive(self) -> Message:
        """Raises BodyTooLargeError when more comes than the cap allows."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._left_bytes -= len(message.get("body", b""))
            if self._left_bytes < 0:
                self.overflow = _too_large(self._max_body_bytes)
                raise self.overflow
        elif not self.complete:
            self.record.client_left = True
        return message

    async def send(self, message: Message) -> None:
        if self.overflow is not None and self.status is None:
            # A framework may make what it likes of the exception in receive(); the answer is 413.
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = self._headers(message.get("headers", ()))
        elif not message.get("more_body", False):
            self.complete = True
        await self._send(message)

    async def fail(self, error: GatewayError) -> None:
        """Answer with an error object; or, too late for that, leave the response broken off,
        upon which the server closes the connection."""
        if self.record.client_left or self.complete:
            return
        self.record.error = error.code
        started, self.status = self.status is not None, error.http_status
        if started:
            return
        body = orjson.dumps(error.body())
        headers = self._headers(error_headers(error))
        headers += [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ]
        start = {"type": "http.response.start", "status": self.status, "headers": headers}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})
        self.complete = True

    def _headers(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        result = [*headers, (b"x-request-id", self.record.request_id.encode("ascii"))]
        if self._lifecycle.draining:
            # So that clients with open connections go elsewhere before this process ends.
            result.append((b"connection", b"close"))
        return result


def error_headers(error: GatewayError) -> list[tuple[bytes, bytes]]:
    """The headers that an error's response bears beside those of its body."""
    headers: list[tuple[bytes, bytes]] = []
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))))
    if isinstance(error, AuthenticationError):
        headers.append((b"www-authenticate", b"Bearer"))
    return headers


def _too_large(max_body_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the request's body is larger than {max_body_bytes} bytes")


def record_of(scope: Any) -> RequestRecord:
    """The record that ``Edge`` put into an ASGI scope."""
    record: RequestRecord = scope["bon_record"]
    return record
