"""The HTTP service: routes over what is served."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from bon_common.http.disconnect import ClientLeft
from reward_server.errors import InvalidRequestError, ScoreError, UnavailableError
from reward_server.http.access import AccessMiddleware, AccessRecord
from reward_server.http.api import add_api
from reward_server.http.auth import Keys
from reward_server.http.openapi import describe
from reward_server.http.service import LoadScorer, Service
from reward_server.http.wire import CLIENT_LEFT, error_response, json_response
from reward_server.scoring.scorer import Scorer
from reward_server.settings import Settings

VERSION = version("bon-gateway")


def create_app(
    settings: Settings,
    *,
    environ: Mapping[str, str] | None = None,
    load: LoadScorer = Scorer.load,
    on_failure: Callable[[], None] | None = None,
    on_ready: Callable[[], None] | None = None,
) -> FastAPI:
    """Build the service; its lifespan loads the models.

    `environ` may hold API keys. `load` runs in a thread. `on_failure` is called when a model
    cannot be served; the reason is then in `app.state.service.failure`. `on_ready` is called when
    all are loaded, before the first request is taken. Raises SettingsError for keys that cannot be
    used.
    """
    service = Service(settings, load, on_failure, on_ready)
    keys = Keys(settings.api_keys_file, environ or {})

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.open()
        yield
        await service.close()

    app = FastAPI(
        title="Reward server",
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        # A redirect names this process's own scheme and host, which a client behind TLS cannot use.
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.service = service
    app.state.lifecycle = service.lifecycle
    app.state.keys = keys
    app.add_middleware(AccessMiddleware, metrics=service.metrics)
    _add_errors(app, service)
    _add_probes(app, service)
    add_api(app, service, keys)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    return app


def _add_errors(app: FastAPI, service: Service) -> None:
    def count(request: Request, code: str) -> None:
        record: AccessRecord = request.state.record
        record.error = code
        service.metrics.errors.labels(code).inc()

    def answer(request: Request, error: ScoreError) -> Response:
        count(request, error.code)
        return error_response(error)

    @app.exception_handler(ScoreError)
    async def score_error(request: Request, error: ScoreError) -> Response:
        return answer(request, error)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        found = InvalidRequestError(f"{request.method} {request.url.path}: {error.detail}")
        found.status = error.status_code
        found.code = {404: "not_found", 405: "method_not_allowed"}.get(found.status, found.code)
        response = answer(request, found)
        response.headers.update(error.headers or {})
        if found.status == 405:
            response.headers["allow"] = _allowed(response.headers.get("allow", ""))
        return response

    @app.exception_handler(ClientLeft)
    async def client_left(request: Request, _error: ClientLeft) -> Response:
        count(request, "client_left")
        return Response(status_code=CLIENT_LEFT)


def _allowed(methods: str) -> str:
    """Sort the methods, which the framework keeps in a set, and add HEAD, unknown to it."""
    found = {method.strip() for method in methods.split(",")} - {""}
    return ", ".join(sorted(found | {"HEAD"} if "GET" in found else found))


def _add_probes(app: FastAPI, service: Service) -> None:
    @app.get("/livez")
    async def livez() -> Response:
        """The process answers."""
        return json_response({"status": "ok"})

    @app.get("/readyz")
    @app.get("/health", operation_id="health")
    async def readyz() -> Response:
        """All models are loaded and warm, and the server is not going away."""
        try:
            service.check_ready()
        except UnavailableError as error:
            return error_response(error)
        return json_response({"status": "ready"})

    @app.get("/version")
    async def version_() -> Response:
        """The server's version."""
        return json_response({"version": VERSION})

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Prometheus metrics."""
        return Response(service.metrics.render(), media_type="text/plain; version=0.0.4")
