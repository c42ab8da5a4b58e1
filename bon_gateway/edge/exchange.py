"""One request and its response, as the edge sees them.

``Exchange`` stands between the server and the app. It caps what comes in, adds the gateway's
headers to what goes out, and knows how far the response has got. Decisions, about keys and limits
for example, are made in ``middleware``.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import orjson
from starlette.types import Message, Receive, Scope, Send

from bon_common.lifecycle import Lifecycle
from bon_common.tracing import REQUEST_ID
from bon_gateway.edge.cors import Headers
from bon_gateway.errors import (
    AuthenticationError,
    BodyTooLargeError,
    GatewayError,
    MethodNotAllowedError,
)


@dataclass(slots=True)
class RequestRecord:
    """Facts about one request for its log line; at ``scope["bon_record"]``.

    The route fills in what the edge cannot know. It holds no text of a client or a model.
    """

    request_id: str
    started: float
    """``time.perf_counter()`` when the request's head had arrived."""
    client: str | None = None
    """Address of the other end of the connection, which may be a proxy."""
    key_name: str | None = None
    model: str | None = None
    """A served model's name. Never a name that a client made up."""
    strategy: str | None = None
    scored_by: str | None = None
    """Name in the settings of the reward that a scoring call asked."""
    n: int | None = None
    """Candidates, or the answers of a scoring call."""
    replica: str | None = None
    """Names of the replicas that generated, separated by commas."""
    prompt_tokens: int | None = None
    winner_tokens: int | None = None
    discarded_tokens: int | None = None
    reward: float | None = None
    degraded: str | None = None
    """What was lost, as short codes."""
    error: str | None = None
    """Code of the error that was the answer."""
    client_left: bool = False
    first_token_s: float | None = None
    """Seconds until the first part of a streamed answer went out."""


class Exchange:
    """One request and its response, watched from both sides."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, max_body_bytes: int, lifecycle: Lifecycle
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
        self.origin: bytes | None = None
        self.cors: Headers = []
        self.overflow: BodyTooLargeError | None = None
        self.status: int | None = None
        """The response's status, once it has started."""
        self.complete = False
        request_id: str | None = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                self.authorization = value.decode("latin-1")
            elif name == b"content-length":
                self.content_length = value
            elif name == b"origin":
                self.origin = value
            elif name == b"x-request-id" and REQUEST_ID.fullmatch(value):
                request_id = value.decode("ascii")
        client = scope.get("client")
        self.record = RequestRecord(
            request_id or f"req-{os.urandom(16).hex()}", started, client[0] if client else None
        )
        scope["bon_record"] = self.record

    async def receive(self) -> Message:
        """Raises BodyTooLargeError when more comes than the cap allows."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._left_bytes -= len(message.get("body", b""))
            if self._left_bytes < 0:
                self.overflow = too_large(self._max_body_bytes)
                raise self.overflow
        elif not self.complete:
            self.record.client_left = True
        return message

    async def send(self, message: Message) -> None:
        if self.overflow is not None and self.status is None:
            # Whatever the framework makes of the exception in receive(), the answer is 413.
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = self._headers(message.get("headers", ()))
        elif not message.get("more_body", False):
            self.complete = True
        await self._send(message)

    async def fail(self, error: GatewayError) -> None:
        """Answer with an error object. If the response has already begun, leave it broken off; the
        server then closes the connection."""
        if self.record.client_left or self.complete:
            return
        self.record.error = error.code
        if self.status is not None:
            self.status = error.status
            return
        body = orjson.dumps(error.body())
        headers = [
            *error_headers(error),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ]
        await self.answer(error.status, headers, body)

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole response."""
        self.status = status
        headers = self._headers(headers)
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})
        self.complete = True

    def _headers(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        result = [*headers, (b"x-request-id", self.record.request_id.encode("ascii")), *self.cors]
        if self._lifecycle.draining:
            # Clients with open connections should go elsewhere before this process ends.
            result.append((b"connection", b"close"))
        return result


def error_headers(error: GatewayError) -> list[tuple[bytes, bytes]]:
    """Headers of an error's response, without those of its body."""
    headers: list[tuple[bytes, bytes]] = []
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))))
    if isinstance(error, AuthenticationError):
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, MethodNotAllowedError):
        headers.append((b"allow", error.allow.encode("ascii")))
    return headers


def too_large(max_body_bytes: int) -> BodyTooLargeError:
    return BodyTooLargeError(f"the request's body is larger than {max_body_bytes} bytes")


def record_of(scope: Any) -> RequestRecord:
    """The record that ``Edge`` put into an ASGI scope."""
    record: RequestRecord = scope["bon_record"]
    return record
