"""Serves an app from a test's own event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from bon_common.listening import bind


@asynccontextmanager
async def serving_app(app: ASGIApp, **settings: Any) -> AsyncIterator[str]:
    """Yield the address on loopback. ``settings`` are more of uvicorn's.

    ``Server.serve`` would take over SIGINT while asyncio's runner of the test has it too. Each then
    gives it back to the other, and the handler of a test that is over stays for all that follow.
    """
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1, **settings)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    # asyncio sends small answers at once only if the socket was made for TCP by name, as this is.
    # Otherwise each answer on a kept connection waits 40 ms for the client's acknowledgement.
    listener = bind("127.0.0.1", 0)
    await server.startup([listener])
    await server.on_tick(0)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await server.shutdown([listener])
