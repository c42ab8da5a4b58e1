"""Behind the gateway's own server, which calls, and behind any other, which has to be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from starlette.types import Message, Scope

from bon_common.http.disconnect import ClientLeft, until_disconnect
from bon_common.http.protocol import ON_LEAVING


class Client:
    """Its server's side of a request."""

    def __init__(self, *, called: bool) -> None:
        self._gone = asyncio.Event()
        self._callback: Callable[[], None] | None = None
        self.scope: Scope = {ON_LEAVING: self._call_on_leaving} if called else {}

    def _call_on_leaving(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._callback = callback
        return self._take_back

    def _take_back(self) -> None:
        self._callback = None

    @property
    def watched(self) -> bool:
        return self._callback is not None

    async def receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    def leave(self) -> None:
        self._gone.set()
        if self._callback is not None:
            self._callback()


@pytest.fixture(params=[True, False], ids=["called", "asked"])
def client(request: pytest.FixtureRequest) -> Client:
    return Client(called=request.param)


async def test_work_that_ends_gives_its_result(client: Client) -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 3

    assert await until_disconnect(client.scope, client.receive, work()) == 3
    assert not client.watched


async def test_a_client_that_leaves_stops_the_work(client: Client) -> None:
    ended = []

    async def work() -> None:
        asyncio.get_running_loop().call_soon(client.leave)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(ClientLeft):
        await until_disconnect(client.scope, client.receive, work())
    assert ended == [True]
    task = asyncio.current_task()
    assert task is not None
    assert not client.watched
    assert task.cancelling() == 0


async def test_who_else_cancels_is_obeyed(client: Client) -> None:
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(until_disconnect(client.scope, client.receive, work()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not client.watched
