"""The edge of the app, which every request passes, whatever route answers it.

``Edge`` gives the request its id, answers a browser's preflight, checks the API key, caps the body,
counts and logs, and is the one place where an unexpected exception is caught. It is plain ASGI,
because a layer that buffers would hold streams back and hide that a client has left. It stands
inside the framework's own error handler (``app.add_middleware``), so that no exception gets there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from time import perf_counter

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from bon_common.keys import KeyRing
from bon_common.lifecycle import Lifecycle
from bon_common.logs import Repeated
from bon_gateway.edge.cors import Cors, Headers
from bon_gateway.edge.exchange import Exchange, too_large
from bon_gateway.errors import AuthenticationError, BadRequestError, GatewayError, OverloadedError
from bon_gateway.metrics import Metrics

CLIENT_LEFT = 499
"""Status in the log and in metrics if the client left before its answer was complete."""
COMPLETIONS_PATH = "/v1/chat/completions"
SCORE_PATH = "/v1/score"
LONGEST_LENGTH = 18
"""Digits of a content-length that are worth converting."""
LONGEST_PATH = 256
"""Characters of a path that are worth logging."""
HEALTH_PATHS = frozenset({"/livez", "/readyz", "/health", "/metrics"})

_log = logging.getLogger("bon_gateway.edge")
_access_log = logging.getLogger("bon_gateway.access")


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
        cors_origins: Sequence[str] = (),
    ) -> None:
        self._app = app
        self._keys = keys
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._max_body_bytes = max_body_bytes
        self._access_log = access_log
        self._cors = Cors(cors_origins)
        self._lines = Repeated(_access_log, "request")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, self._max_body_bytes, self._lifecycle)
        if self._cors.enabled:
            exchange.cors = self._cors.headers(exchange.origin)
        counted = scope["path"] not in HEALTH_PATHS
        if counted:
            self._lifecycle.enter()
            self._metrics.set_requests_in_flight(self._lifecycle.in_flight)
        try:
            allowed = self._preflight(exchange)
            if allowed is not None:
                await exchange.answer(204, allowed, b"")
                return
            failure = self._refusal(exchange) or await self._run(exchange)
            if failure is not None:
                await exchange.fail(failure)
        finally:
            if counted:
                self._lifecycle.leave()
                self._metrics.set_requests_in_flight(self._lifecycle.in_flight)
            self._account(exchange, counted)

    def _preflight(self, exchange: Exchange) -> Headers | None:
        """Headers of the answer to a browser's preflight; None if this is no preflight or its
        origin is not allowed. A preflight has no API key; only the request itself has."""
        if exchange.scope["method"] != "OPTIONS" or not self._cors.enabled:
            return None
        asked = dict(exchange.scope["headers"])
        if b"access-control-request-method" not in asked:
            return None
        headers = asked.get(b"access-control-request-headers", b"")
        return self._cors.preflight(exchange.origin, headers)

    def _refusal(self, exchange: Exchange) -> GatewayError | None:
        """The error for a request that its head already rules out."""
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
            return too_large(self._max_body_bytes)
        return None

    async def _run(self, exchange: Exchange) -> GatewayError | None:
        """Let the app answer. Returns the error that must still be sent, if there is one."""
        try:
            await self._app(exchange.scope, exchange.receive, exchange.send)
        except GatewayError as error:
            failure: GatewayError | None = error
        except ClientDisconnect:
            exchange.record.client_left = True
            failure = None
        except asyncio.CancelledError:
            # The server cancels requests that outlive the grace time. Nobody waits for this task,
            # so it may go on and send a proper answer, which serves the client better than a cut.
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

    def _account(self, exchange: Exchange, counted: bool) -> None:
        seconds = perf_counter() - exchange.record.started
        record = exchange.record
        status = CLIENT_LEFT if record.client_left else exchange.status or 500
        scope = exchange.scope
        if scope["path"] == COMPLETIONS_PATH and scope["method"] == "POST":
            self._metrics.observe_request(record.model, record.strategy, status, seconds)
        elif scope["path"] == SCORE_PATH and scope["method"] == "POST":
            self._metrics.observe_score_request(record.scored_by, status)
        level = logging.INFO if counted else logging.DEBUG
        if not self._access_log or not _access_log.isEnabledFor(level):
            return
        fields = {
            "request_id": record.request_id,
            "method": scope["method"],
            "path": scope["path"][:LONGEST_PATH],
            "status": status,
            "duration_ms": round(seconds * 1000, 2),
            "first_token_ms": _ms(record.first_token_s),
            "client": record.client,
            "key": record.key_name,
            "model": record.model,
            "strategy": record.strategy,
            "scored_by": record.scored_by,
            "n": record.n,
            "replica": record.replica,
            "prompt_tokens": record.prompt_tokens,
            "winner_tokens": record.winner_tokens,
            "discarded_tokens": record.discarded_tokens,
            "reward": record.reward,
            "degraded": record.degraded,
            "error": record.error,
            "client_left": record.client_left,
        }
        self._lines.log(level, fields)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 2)
