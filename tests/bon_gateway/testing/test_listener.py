"""The loopback server of the fakes leaves nothing open, whenever a client comes."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import ClientSession, web

from bon_gateway.testing.listener import Listener


async def _hello(_request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="hello")


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.timeout(20)
async def test_a_client_that_comes_while_it_stops_is_closed(turns: int) -> None:
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: problems.append(context)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        listener = Listener(_hello)
        port = await listener.start("127.0.0.1", 0)
        with socket.create_connection(("127.0.0.1", port)) as client:
            for _ in range(turns):
                await asyncio.sleep(0)
            await listener.stop()
            gc.collect()
            client.settimeout(5)
            with suppress(ConnectionResetError):  # it came too late to be accepted
                assert client.recv(1) == b""
    assert problems == []


@pytest.mark.timeout(20)
async def test_a_port_is_free_after_it_stopped() -> None:
    listener = Listener(_hello)
    port = await listener.start("127.0.0.1", 0)
    await listener.stop()
    await listener.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert await listener.start("127.0.0.1", port) == port
    async with ClientSession() as session, session.get(f"http://127.0.0.1:{port}") as answer:
        assert await answer.text() == "hello"
        assert listener.connections == 1
    await listener.stop()
    assert listener.connections == 0
