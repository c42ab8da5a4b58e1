"""The edge of the app: what every request passes, whatever route answers it.

Gives the request its id, counts and logs it, and is the one place where an unexpected exception is
caught. Plain ASGI: it never touches a body.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bon_common.tracing import REQUEST_ID, trace_headers
from reward_server.errors import ScoreError
from reward_server.http.dialects.routes import ROUTES
from reward_server.http.wire import error_response
from reward_server.metrics import Metrics

logger = logging.getLogger("reward_server.access")
_edge = logging.getLogger("reward_server.edge")

PATHS = frozenset(
    {"/livez", "/readyz", "/health", "/version", "/metrics", "/openapi.json"}
    | {"/v1/models", "/v1/score", "/v1/prefix"}
    | {route.path for route in ROUTES}
)
QUIET = frozenset({"/livez", "/readyz", "/health", "/metrics"})


@dataclass
class AccessRecord:
    """What a request's log line says beyond its method and path; at `request.state.record`.

    Names and numbers only: texts do not belong in a log.
    """

    request_id: str
    key: str | None = None
    model: str | None = None
    sequences: int | None = None
    tokens: int | None = None
    error: str | None = None
    """The code of the error that was answered."""
    status: int | None = field(default=None, init=False)


class AccessMiddleware:
    """Counts and logs every request; probes are logged at debug level only."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        record = AccessRecord(_request_id(scope["headers"]))
        marked = (b"x-request-id", record.request_id.encode("ascii"))

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message["headers"] = [*message.get("headers", ()), marked]
            await send(message)

        inner = _routed(scope)
        inner.setdefault("state", {})["record"] = record
        try:
            await self._app(inner, receive, send_marked)
        except Exception as error:  # noqa: BLE001 - the one capture point
            self._unexpected(error, record)
            if record.status is None:
                await error_response(ScoreError("internal error"))(inner, receive, send_marked)
        finally:
            self._account(scope, record, perf_counter() - started)

    def _unexpected(self, error: Exception, record: AccessRecord) -> None:
        record.error = ScoreError.code
        self._metrics.errors.labels(record.error).inc()
        fields = {
            "request_id": record.request_id,
            "error": type(error).__name__,
            "response_started": record.status is not None,
        }
        _edge.error("unexpected exception", exc_info=error, extra={"fields": fields})

    def _account(self, scope: Scope, record: AccessRecord, seconds: float) -> None:
        path = scope["path"] if scope["path"] in PATHS else "other"
        status = record.status or 500
        self._metrics.requests.labels(path, str(status)).inc()
        level = logging.DEBUG if path in QUIET else logging.INFO
        if not logger.isEnabledFor(level):
            return
        client = scope.get("client")
        fields: dict[str, Any] = {
            "request_id": record.request_id,
            "method": scope["method"],
            "path": path,
            "status": status,
            "duration_ms": round(seconds * 1000, 2),
            "client": client[0] if client else None,
            "key": record.key,
            "model": record.model,
            "sequences": record.sequences,
            "tokens": record.tokens,
            "traceparent": trace_headers(scope["headers"]).get("traceparent"),
            "error": record.error,
        }
        logger.log(level, "request", extra={"fields": fields})


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    given = dict(headers).get(b"x-request-id", b"")
    return given.decode("ascii") if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _routed(scope: Scope) -> Scope:
    """The scope as the routes see it.

    HEAD is answered as GET is; the server itself leaves the body out. A path may end in a slash: a
    redirect would name this process's own scheme and host, which a client behind a proxy cannot
    reach.
    """
    path: str = scope["path"]
    if len(path) > 1 and path.endswith("/"):
        path = path[:-1]
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    return {**scope, "path": path, "method": method}
