"""The HTTP service: routes over what is served."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from reward_server.access import AccessMiddleware
from reward_server.auth import Keys
from reward_server.errors import InvalidRequestError, ScoreError, UnavailableError
from reward_server.info import EnsembleInfo, ModelInfo
from reward_server.openapi import PREFIX_ROUTE, SCORE_ROUTE, describe
from reward_server.schema import PrefixRequest, PrefixResponse, ScoreRequest, ScoreResponse
from reward_server.scorer import Scorer
from reward_server.service import LoadScorer, Served, Service
from reward_server.settings import Settings
from reward_server.wire import (
    CLIENT_LEFT,
    ClientLeftError,
    decode,
    error_response,
    json_response,
    read_body,
    unless_disconnected,
)

Asked = TypeVar("Asked", ScoreRequest, PrefixRequest)


def create_app(
    settings: Settings,
    *,
    load: LoadScorer = Scorer.load,
    on_failure: Callable[[], None] | None = None,
    on_ready: Callable[[], None] | None = None,
) -> FastAPI:
    """Build the service; its lifespan loads the models.

    `load` runs in a thread. `on_failure` is called when a model cannot be served; the reason
    is then in `app.state.service.failure`. `on_ready` is called when all are loaded, before the
    first request is taken. Raises SettingsError for keys that cannot be used.
    """
    service = Service(settings, load, on_failure, on_ready)
    keys = Keys(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.open()
        yield
        await service.close()

    app = FastAPI(
        title="Reward server",
        docs_url=None,
        redoc_url=None,
        # It would send who asks through TLS to an address without.
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.service = service
    app.state.keys = keys
    app.add_middleware(AccessMiddleware, metrics=service.metrics)
    _add_errors(app, service)
    _add_probes(app, service)
    _add_api(app, service, keys)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    return app


def _add_errors(app: FastAPI, service: Service) -> None:
    def answer(error: ScoreError) -> Response:
        service.metrics.errors.labels(error.code).inc()
        return error_response(error)

    @app.exception_handler(ScoreError)
    async def score_error(_: Request, error: ScoreError) -> Response:
        return answer(error)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        found = InvalidRequestError(f"{request.method} {request.url.path}: {error.detail}")
        found.status = error.status_code
        found.code = {404: "not_found", 405: "method_not_allowed"}.get(found.status, found.code)
        response = answer(found)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def unexpected(_request: Request, _error: Exception) -> Response:
        return answer(ScoreError("internal error"))

    @app.exception_handler(ClientLeftError)
    async def client_left(_request: Request, _error: ClientLeftError) -> Response:
        service.metrics.errors.labels("client_left").inc()
        return Response(status_code=CLIENT_LEFT)


def _add_probes(app: FastAPI, service: Service) -> None:
    @app.get("/livez")
    async def livez() -> Response:
        """The process answers."""
        return json_response({"status": "ok"})

    @app.get("/readyz")
    async def readyz() -> Response:
        """All models are loaded and warm, and the server is not going away."""
        try:
            service.check_ready()
        except UnavailableError as error:
            return error_response(error)
        return json_response({"status": "ready"})

    @app.get("/metrics")
    async def metrics() -> Response:
        """Prometheus metrics."""
        return Response(service.metrics.render(), media_type="text/plain; version=0.0.4")


def _add_api(app: FastAPI, service: Service, keys: Keys) -> None:
    settings = service.settings

    def admit(request: Request) -> dict[str, Any]:
        """Check the key; return the fields of the request's log line."""
        log: dict[str, Any] = request.state.log
        caller = keys.caller_of(request.headers.get("authorization"))
        if caller is not None:
            log["caller"] = caller
        return log

    async def read(request: Request, kind: type[Asked]) -> tuple[Asked, Served]:
        """The body, and what it is for. Whoever comes too early need not send it all."""
        service.check_ready()
        body = await read_body(request, settings.max_body_bytes)
        asked = await decode(body, kind, settings.max_json_values)
        return asked, service.scorer(asked.model)

    @app.get("/v1/models")
    async def models(request: Request) -> Response:
        """What is loaded, on what, and what its numbers mean."""
        admit(request)
        return json_response({"object": "list", "data": [_page(info) for info in service.infos()]})

    @app.post("/v1/score", openapi_extra=SCORE_ROUTE)
    async def score(request: Request) -> Response:
        """Score candidate answers: raw rewards, in the order given."""
        log = admit(request)
        with service.request():
            asked, served = await read(request, ScoreRequest)
            answer = await unless_disconnected(request, _score(served, asked))
        log["sequences"] = answer.usage.sequences
        log["tokens"] = answer.usage.tokens
        return json_response(answer)

    @app.post("/v1/prefix", openapi_extra=PREFIX_ROUTE)
    async def prefix(request: Request) -> Response:
        """Compute the prompt of candidates that are being generated; answers when it is done."""
        log = admit(request)
        with service.request():
            asked, served = await read(request, PrefixRequest)
            announced = await unless_disconnected(
                request, served.announce(asked.messages, asked.tools)
            )
        log["tokens"] = announced.tokens
        return json_response(
            PrefixResponse(model=served.info.name, tokens=announced.tokens, kept=announced.kept)
        )


def _page(info: ModelInfo | EnsembleInfo) -> dict[str, Any]:
    known = {k: v for k, v in msgspec.to_builtins(info).items() if v is not None}
    return {"id": info.name, "object": "model", **known}


async def _score(served: Served, asked: ScoreRequest) -> ScoreResponse:
    scored = await served.score(
        asked.items,
        on_overflow=asked.on_overflow,
        deadline_s=None if asked.deadline_ms is None else asked.deadline_ms / 1000,
        partial=asked.partial,
    )
    return ScoreResponse(
        model=served.info.name,
        results=scored.results,
        usage=scored.usage,
        timings_ms=scored.timings_ms,
    )
