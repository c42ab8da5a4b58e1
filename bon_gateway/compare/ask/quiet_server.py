"""uvicorn in a thread, for ``--embedded``; apart, so that who needs no server imports none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp


class QuietServer(uvicorn.Server):
    """Signals stay the comparison's own, which then ends this server."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def config_of(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app, interface="asgi3", log_config=None, access_log=False, lifespan="on", ws="none"
    )
