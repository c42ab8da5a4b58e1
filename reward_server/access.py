"""The access log and request counts, as plain ASGI: it never touches a body."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reward_server.metrics import Metrics

logger = logging.getLogger("reward_server.access")

PATHS = frozenset(
    {"/livez", "/readyz", "/metrics", "/v1/models", "/v1/score", "/v1/prefix", "/openapi.json"}
)
QUIET = frozenset({"/livez", "/readyz", "/metrics"})
# The gateway's alphabet, so that both log a request under one id.
REQUEST_ID = re.compile(r"[!-~]{1,128}")


class AccessMiddleware:
    """Counts and logs every request; probes are logged at debug level only.

    Routes put numbers worth logging into the request's `state.log`; texts have no place there.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        fields: dict[str, Any] = {}
        scope.setdefault("state", {})["log"] = fields
        status = 500

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        finally:
            path = scope["path"] if scope["path"] in PATHS else "other"
            self._metrics.requests.labels(path, str(status)).inc()
            logger.log(
                logging.DEBUG if path in QUIET else logging.INFO,
                "request",
                extra={
                    "fields": {
                        "request_id": request_id,
                        "method": scope["method"],
                        "path": path,
                        "status": status,
                        "ms": round((time.monotonic() - started) * 1000, 3),
                        **fields,
                    }
                },
            )
