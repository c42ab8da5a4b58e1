"""uvicorn's run of one request, with our end of the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class CycleTransport:
    """What a cycle uses of its transport; closing is the protocol's decision."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = close


class Cycle(RequestResponseCycle):
    """An answer that begins before the body has arrived ends the connection and says so: the
    client may go on writing, or, after ``Expect: 100-continue``, never write what it declared."""

    _keep_alive: bool

    @property
    def keep_alive(self) -> bool:
        if self._keep_alive and self.response_started and self.more_body:
            self._keep_alive = False
        return self._keep_alive

    @keep_alive.setter
    def keep_alive(self, value: bool) -> None:
        self._keep_alive = value
