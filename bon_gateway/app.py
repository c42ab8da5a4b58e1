"""Puts the gateway together: settings in, an ASGI application out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

import bon_gateway
from bon_gateway.admission import Admission
from bon_gateway.api.chat import ChatCompletions
from bon_gateway.api.openapi import describe
from bon_gateway.api.routes import routes
from bon_gateway.auth import load_keyring
from bon_gateway.errors import BadRequestError, MethodNotAllowedError, NotFoundError
from bon_gateway.factory import build_gateway
from bon_gateway.gateway import Gateway
from bon_gateway.lifecycle import Lifecycle
from bon_gateway.metrics import Metrics
from bon_gateway.middleware import COMPLETIONS_PATH, Edge
from bon_gateway.recording.recorder import build_recorder
from bon_gateway.settings import Settings

UPSTREAM_GAUGE_INTERVAL_S = 1.0
LONGEST_WORKER_WAIT_S = 10.0


class GatewayApp(FastAPI):
    """The framework's app, and beside it the chat route, which is plain ASGI: the framework's
    layers would cost a tenth of its time, and it needs none of them."""

    chat: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        path: str = scope["path"]
        if len(path) > 1 and path.endswith("/"):
            # A redirect would name this process's own scheme and host, which a client behind a
            # proxy cannot reach, and many clients do not send a POST again.
            scope["path"] = path = path[:-1]
        if path == COMPLETIONS_PATH and scope["method"] == "POST":
            scope["app"] = self
            await self.chat(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = describe(super().openapi())
        return self.openapi_schema


def create_app(
    settings: Settings,
    *,
    lifecycle: Lifecycle | None = None,
    environ: Mapping[str, str] = os.environ,
    build: Callable[[Settings, Metrics], Gateway] = build_gateway,
) -> FastAPI:
    """The application. ``build`` makes the backends; tests and embedders may give their own."""
    metrics = Metrics(settings.models)
    app = GatewayApp(
        title="bon-gateway",
        version=bon_gateway.__version__,
        summary="OpenAI-compatible gateway that answers with the best of N samples",
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.lifecycle = lifecycle or Lifecycle()
    app.state.gateway = build(settings, metrics)
    app.state.recorder = build_recorder(settings.recording, metrics)
    app.state.admission = Admission(
        settings.limits.max_candidates,
        settings.limits.max_candidates_per_key,
        on_change=metrics.set_candidates_in_flight,
    )
    edge = partial(
        Edge,
        keys=load_keyring(settings.auth, environ),
        metrics=metrics,
        lifecycle=app.state.lifecycle,
        max_body_bytes=settings.limits.max_body_bytes,
        access_log=settings.server.access_log,
        cors_origins=settings.server.cors_origins,
    )
    app.chat = edge(ChatCompletions())
    # For other methods there: 405, where an unknown path is 404.
    app.add_route(COMPLETIONS_PATH, ChatCompletions(), methods=["POST"])  # type: ignore[arg-type]
    app.router.routes.extend(routes())
    app.add_exception_handler(HTTPException, _http_error)
    app.add_middleware(edge)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    gateway: Gateway = app.state.gateway
    await gateway.start()
    app.state.recorder.start()
    gauge = asyncio.create_task(_watch_upstreams(gateway, app.state.metrics))
    if app.state.settings.server.workers > 1:
        await _wait_ready(gateway)
    app.state.lifecycle.serve()
    try:
        yield
    finally:
        app.state.lifecycle.drain()
        gauge.cancel()
        await asyncio.gather(gauge, return_exceptions=True)
        await gateway.close()
        await asyncio.to_thread(app.state.recorder.close)
        app.state.metrics.close()


async def _wait_ready(gateway: Gateway) -> None:
    """Before this worker takes its share of the connections: which worker answers ``/readyz``
    is chance, so each one should be as ready as the others. An upstream that is not there keeps
    it only for a while."""
    now = asyncio.get_running_loop().time
    give_up = now() + LONGEST_WORKER_WAIT_S
    while not gateway.ready() and now() < give_up:  # noqa: ASYNC110 - backends have no event
        await asyncio.sleep(0.05)


async def _watch_upstreams(gateway: Gateway, metrics: Metrics) -> None:
    while True:
        metrics.set_upstreams(gateway.states())
        await asyncio.sleep(UPSTREAM_GAUGE_INTERVAL_S)


async def _http_error(request: Request, error: Exception) -> Response:
    """Starlette's own 404 and 405 as the gateway's, which ``Edge`` answers."""
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.scope['path']}"
    if error.status_code == 405:
        # The framework has them in a set, so in no order.
        allow = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        raise MethodNotAllowedError(
            f"{where}: this path takes {allow or 'no method'}", allow=allow
        ) from None
    if error.status_code == 404:
        raise NotFoundError(f"{where}: there is no such path") from None
    raise BadRequestError(str(error.detail)) from None
