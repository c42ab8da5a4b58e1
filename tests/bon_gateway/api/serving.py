"""A whole gateway on loopback, over fake upstreams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from bon_gateway.app import ServingApp
from tests.loop_server import serving_app
from tests.waiting import until


@asynccontextmanager
async def client_of(app: ServingApp) -> AsyncIterator[httpx.AsyncClient]:
    """Its backends are all up."""
    async with (
        serving_app(app) as url,
        httpx.AsyncClient(base_url=url, timeout=20, verify=False) as http,
    ):
        backends = app.state.gateway.backends.values()
        await until(lambda: all(one.ready() for one in backends), 20, what="all backends are up")
        yield http
