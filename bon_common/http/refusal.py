"""The answer to bytes that never become a request: OpenAI's error object, ready for the socket."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error that the server answers in place of its application."""

    status: int
    code: str
    message: str
    """Never quotes the client."""
    retry_after_s: int | None = None

    def encode(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The whole response, with ``headers`` before its own. It ends the connection."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        error = {"message": self.message, "type": kind, "code": self.code}
        body = json.dumps({"error": error}).encode()
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}".encode()]
        lines += [name + b": " + value for name, value in headers]
        lines += [
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"x-request-id: req-" + os.urandom(16).hex().encode(),
            b"connection: close",
        ]
        if self.retry_after_s is not None:
            lines.append(b"retry-after: %d" % self.retry_after_s)
        return b"\r\n".join(lines) + b"\r\n\r\n" + body


UNPARSABLE = Refusal(400, "invalid_http", "the request is not valid HTTP/1.1")
NO_HOST = Refusal(400, "invalid_host", "the request must have exactly one Host header")
BAD_TARGET = Refusal(400, "invalid_target", "the request's target is not a path")
HEAD_TOO_LARGE = Refusal(
    431, "request_header_fields_too_large", "the request line and headers are too large"
)
TOO_MANY_FIELDS = Refusal(
    431, "request_header_fields_too_large", "the request has too many headers"
)
REQUEST_ID_TOO_LARGE = Refusal(
    431, "request_header_fields_too_large", "the x-request-id header is too large"
)
TOO_SLOW = Refusal(408, "request_timeout", "the request did not arrive in time")
TOO_MANY_CONNECTIONS = Refusal(
    503, "too_many_connections", "the server has as many connections as it can", retry_after_s=1
)

DOCUMENTED = {
    "400": "A request that cannot be read, or asks for what can never be",
    "405": "No such method here",
    "408": "The request did not arrive in time",
    "431": "The headers are too large",
    "503": "As many connections as there may be, or not ready",
}
"""Statuses that any path may answer, for the servers' API documents. Most of them come from the
socket, before the route is known."""
