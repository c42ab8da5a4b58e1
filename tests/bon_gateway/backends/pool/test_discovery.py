"""Following a name: what is told, what is kept, what is logged."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import pytest

from bon_gateway.backends.http.names import Address
from bon_gateway.backends.pool.discovery import Discovery
from tests.bon_gateway.backends.support import Names

AGAIN = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


@asynccontextmanager
async def following(
    names: Names, url: str = "http://user:pw@generator:8000/v1"
) -> AsyncIterator[list[set[str]]]:
    """What was found, lookup by lookup."""
    found: list[set[str]] = []

    def add(addresses: Collection[Address]) -> None:
        found.append({address.host for address in addresses})

    discovery = Discovery(url, names.look_up, 0.01, add)
    task = asyncio.create_task(discovery.follow())
    try:
        await names.asked_again()
        yield found
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://user:pw@generator:8000/v1", ("generator", 8000)),
        ("https://generator", ("generator", 443)),
        ("http://[fd00::7]:8000", ("fd00::7", 8000)),
    ],
)
async def test_it_asks_for_the_host_and_port_of_the_url(url: str, asked: tuple[str, int]) -> None:
    names = Names("10.0.0.1")
    async with following(names, url):
        assert set(names.asked) == {asked}


async def test_each_lookup_is_told() -> None:
    names = Names("10.0.0.1", "10.0.0.2")
    async with following(names) as found:
        names.say("10.0.0.2", "fd00::3")
        await names.asked_again()
        names.say()
        await names.asked_again()
    assert found[0] == {"10.0.0.1", "10.0.0.2"}
    assert {"10.0.0.2", "fd00::3"} in found
    assert found[-1] == set()


async def test_a_lookup_that_fails_tells_nothing() -> None:
    names = Names("10.0.0.1")
    async with following(names) as found:
        names.error = AGAIN
        await names.asked_again()
        before = len(found)
        await names.asked_again()
        assert len(found) == before
        names.error = None
        await names.asked_again()
        assert len(found) > before


async def test_each_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    names = Names("10.0.0.2", "10.0.0.1")
    async with following(names):
        for error in (AGAIN, TimeoutError("no answer")):
            names.error = error
            await names.asked_again()
            await names.asked_again()
        names.error = None
        await names.asked_again()
        names.say()
        await names.asked_again()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "Upstream generator:8000 is at: 10.0.0.1, 10.0.0.2"),
        ("WARNING", f"Upstream generator:8000 cannot be looked up (gaierror: {AGAIN})"),
        ("WARNING", "Upstream generator:8000 cannot be looked up (TimeoutError: no answer)"),
        ("INFO", "Upstream generator:8000 is at: 10.0.0.1, 10.0.0.2"),
        ("WARNING", "Upstream generator:8000 is at: no address"),
    ]


async def test_an_error_that_nobody_thought_of_does_not_end_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Stumbling(Names):
        async def look_up(self, host: str, port: int) -> list[Address]:
            addresses = await super().look_up(host, port)
            if len(self.asked) == 1:
                raise RuntimeError("can't start new thread")
            return addresses

    async with following(Stumbling("10.0.0.1")) as found:
        assert found[-1] == {"10.0.0.1"}
    assert [record.exc_info is not None for record in caplog.records] == [True]
