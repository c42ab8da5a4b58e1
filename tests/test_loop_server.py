"""A server in a test's loop leaves nothing behind for the tests after it."""

from __future__ import annotations

import asyncio
import signal

import httpx
from starlette.applications import Starlette

from tests.loop_server import serving_app


async def ask(url: str) -> int:
    async with httpx.AsyncClient(base_url=url, verify=False) as client:
        return (await client.get("/")).status_code


def test_it_serves_and_leaves_sigint_alone() -> None:
    # As a test with a fixture is run: each part by its own call of the runner.
    with asyncio.Runner() as runner:
        served = serving_app(Starlette())
        url = runner.run(served.__aenter__())
        assert runner.run(ask(url)) == 404
        runner.run(served.__aexit__(None, None, None))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
