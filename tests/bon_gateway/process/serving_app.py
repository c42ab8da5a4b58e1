"""A small app behind the real server, run as a process: ``python serving_app.py SETTINGS_JSON``.

Its completions take as long as the query says, so that a test can have one in flight.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bon_common.keys import KeyRing
from bon_common.lifecycle import Lifecycle
from bon_gateway.edge.exchange import record_of
from bon_gateway.edge.middleware import Edge
from bon_gateway.metrics import Metrics
from bon_gateway.process.server import run
from bon_gateway.settings.tree import Settings

if __name__ == "__mp_main__" and os.environ.get("TEST_INTERRUPT_START"):
    # A worker imports this module before it can deal with any signal.
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGHUP)


async def complete(request: Request) -> Response:
    record = record_of(request.scope)
    record.model, record.strategy = "a", "single"
    await asyncio.sleep(float(request.query_params.get("seconds", "0")))
    return JSONResponse({"pid": os.getpid()})


async def readyz(request: Request) -> Response:
    ready = request.app.state.lifecycle.serving
    return JSONResponse({"pid": os.getpid()}, status_code=200 if ready else 503)


async def metrics(request: Request) -> Response:
    body, content_type = request.app.state.metrics.render()
    return Response(body, media_type=content_type, headers={"x-pid": str(os.getpid())})


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    if os.environ.get("TEST_FAIL_STARTUP"):
        raise RuntimeError("told to fail")
    app.state.lifecycle.serve()
    yield
    app.state.metrics.close()


def create_app(settings: Settings) -> Starlette:
    lifecycle, counts = Lifecycle(), Metrics(settings.models)
    edge = Middleware(
        Edge,
        keys=KeyRing(),
        metrics=counts,
        lifecycle=lifecycle,
        max_body_bytes=settings.limits.max_body_bytes,
    )
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", complete, methods=["POST"]),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
        ],
        middleware=[edge],
        lifespan=lifespan,
    )
    app.state.lifecycle = lifecycle
    app.state.metrics = counts
    return app


if __name__ == "__main__":
    raise SystemExit(run(create_app, Settings.model_validate_json(sys.argv[1]), open_access=True))
