"""Puts the gateway together: settings in, an ASGI application out.

Everything that depends on the settings is one ``Generation`` with an application of its own. All
generations share what a process has once: metrics and lifecycle. ``ServingApp`` gives each request
to the generation in force."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

import bon_gateway
from bon_common import logs
from bon_common.keys import KeyRing
from bon_common.lifecycle import Lifecycle
from bon_gateway.api.chat import ChatCompletions
from bon_gateway.api.openapi import describe
from bon_gateway.api.routes import routes
from bon_gateway.api.score import ScoreAnswers
from bon_gateway.api.services import Services
from bon_gateway.auth import load_keyring
from bon_gateway.edge.admission import Admission
from bon_gateway.edge.budgets import KeyBudget
from bon_gateway.edge.middleware import COMPLETIONS_PATH, SCORE_PATH, Edge
from bon_gateway.errors import BadRequestError, MethodNotAllowedError, NotFoundError
from bon_gateway.factory import build_gateway
from bon_gateway.gateway import Gateway, same_backends, wait_until
from bon_gateway.metrics import Metrics
from bon_gateway.recording.recorder import build_recorder
from bon_gateway.reload.generations import Generation, Generations
from bon_gateway.reload.reloader import Reloader
from bon_gateway.reload.source import SettingsSource
from bon_gateway.settings.tree import Settings
from bon_gateway.strategies.registry import BY_REQUEST

UPSTREAM_GAUGE_INTERVAL_S = 1.0
LONGEST_WORKER_WAIT_S = 10.0


class GatewayApp(FastAPI):
    """The framework's app, with the chat route beside it as plain ASGI. The framework's layers
    would cost that route a tenth of its time, and it needs none of them."""

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


class ServingApp(Starlette):
    """What the server runs. Each request goes to the generation that is in force when it begins.

    ``state`` holds what the process owns: ``lifecycle``, ``metrics`` and ``reloader`` (None without
    a source of settings). ``state.gateway`` is that of the generation in force."""

    generations: Generations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self.generations.serve(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(
    settings: Settings,
    *,
    lifecycle: Lifecycle | None = None,
    environ: Mapping[str, str] = os.environ,
    build: Callable[[Settings, Metrics], Gateway] = build_gateway,
    source: SettingsSource | None = None,
) -> ServingApp:
    """The application. ``build`` makes the backends; tests and embedders may pass their own.

    With ``source`` the settings are read again when they change there. Raises SettingsError.
    """
    metrics = Metrics(settings.models, BY_REQUEST)
    lifecycle = lifecycle or Lifecycle()

    def make(settings: Settings, keys: KeyRing, before: Generation | None) -> Generation:
        gateway, limits = build(settings, metrics), settings.limits
        budget = KeyBudget(limits.requests_per_key, limits.tokens_per_key, limits.window_s)
        if before is None:
            recorder = build_recorder(settings.recording, metrics)
            admission = Admission(
                limits.max_candidates,
                limits.max_candidates_per_key,
                budget=budget,
                on_change=metrics.set_candidates_in_flight,
            )
        else:
            kept = same_backends(before.settings, settings)
            gateway = gateway.with_backends_of(before.gateway, kept)
            if before.settings.history == settings.history:
                gateway = gateway.with_histories_of(before.gateway)
            recorder = before.recorder
            if before.settings.recording != settings.recording:
                recorder = build_recorder(settings.recording, metrics)
            admission = before.admission.resized(
                limits.max_candidates, limits.max_candidates_per_key, budget
            )
        services = Services(settings, gateway, recorder, admission, metrics)
        return _assemble(services, keys, lifecycle)

    def changed(generation: Generation) -> None:
        models = generation.settings.models
        metrics.know(models, [served.strategy.type for served in models.values()])
        app.state.gateway = generation.gateway
        if generation is not first:
            logs.configure(generation.settings.server.log_level)

    first = make(settings, load_keyring(settings.auth, environ), None)
    app = ServingApp(lifespan=_lifespan)
    app.state.metrics = metrics
    app.state.lifecycle = lifecycle
    app.generations = generations = Generations(first, changed)
    app.state.reloader = None
    if source is not None:
        app.state.reloader = Reloader(source, environ, generations, make, metrics)
    return app


def _assemble(services: Services, keys: KeyRing, lifecycle: Lifecycle) -> Generation:
    """Make one generation. It is not started here, and it never changes."""
    app = GatewayApp(
        title="bon-gateway",
        version=bon_gateway.__version__,
        summary="OpenAI-compatible gateway that answers with the best of N samples",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    settings = services.settings
    app.state.metrics = services.metrics
    app.state.lifecycle = lifecycle
    app.state.gateway = services.gateway
    chat = ChatCompletions(services)
    edge = partial(
        Edge,
        keys=keys,
        metrics=services.metrics,
        lifecycle=lifecycle,
        max_body_bytes=settings.limits.max_body_bytes,
        access_log=settings.server.access_log,
        cors_origins=settings.server.cors_origins,
    )
    app.chat = edge(chat)
    # For other methods there: 405, where an unknown path is 404.
    app.add_route(COMPLETIONS_PATH, chat, methods=["POST"])  # type: ignore[arg-type]
    app.add_route(SCORE_PATH, ScoreAnswers(services), methods=["POST"])  # type: ignore[arg-type]
    app.router.routes.extend(routes())
    app.add_exception_handler(HTTPException, _http_error)
    app.add_middleware(edge)
    return Generation(settings, keys, services.gateway, services.recorder, services.admission, app)


@asynccontextmanager
async def _lifespan(app: ServingApp) -> AsyncIterator[None]:
    generations = app.generations
    reloader: Reloader | None = app.state.reloader
    first = generations.current
    await first.gateway.start()
    first.recorder.start()
    tasks = [asyncio.create_task(_watch_upstreams(generations, app.state.metrics))]
    if reloader is not None:
        tasks.append(asyncio.create_task(reloader.run(), name="reloader"))
    if first.settings.server.workers > 1:
        # Chance decides which worker answers ``/readyz``, so each should be as ready as the others
        # before it takes connections. An upstream may be down, so it waits only for a while.
        await wait_until(first.gateway.ready, LONGEST_WORKER_WAIT_S)
    app.state.lifecycle.serve()
    try:
        yield
    finally:
        app.state.lifecycle.drain()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await generations.close()
        app.state.metrics.close()


async def _watch_upstreams(generations: Generations, metrics: Metrics) -> None:
    while True:
        metrics.set_upstreams(generations.current.gateway.states())
        await asyncio.sleep(UPSTREAM_GAUGE_INTERVAL_S)


async def _http_error(request: Request, error: Exception) -> Response:
    """Raise Starlette's 404 and 405 as the gateway's own errors, which ``Edge`` answers."""
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.scope['path']}"
    if error.status_code == 405:
        # The framework keeps them in a set, in no order.
        allow = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
        raise MethodNotAllowedError(
            f"{where}: this path takes {allow or 'no method'}", allow=allow
        ) from None
    if error.status_code == 404:
        raise NotFoundError(f"{where}: there is no such path") from None
    raise BadRequestError(str(error.detail)) from None
