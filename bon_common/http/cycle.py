"""uvicorn's run of one request, with our end of the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class CycleTransport:
    """What a cycle uses of its transport; closing is the protocol's decision.

    A head waits for the body that is written in the same turn of the event loop, so that both
    leave in one packet and wake the client once.
    """

    __slots__ = ("_head", "_head_next", "_loop", "_transport", "close", "is_closing")

    def __init__(
        self,
        transport: asyncio.Transport,
        close: Callable[[], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""
        self._head_next = False
        self.is_closing = transport.is_closing
        self.close = close

    def begin(self) -> None:
        """An answer is due: what is written next is its head."""
        self.flush()
        self._head_next = True

    def write(self, data: bytes) -> None:
        if self._head_next:
            self._head_next = False
            self._head = data
            self._loop.call_soon(self.flush)
        elif self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data))
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """To be called before anybody else writes to the connection or closes it."""
        head, self._head = self._head, b""
        if head and not self._transport.is_closing():
            self._transport.write(head)


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


class ChunklessCycle(Cycle):
    """For HTTP/1.0, which has no chunks: such a client, or a proxy that speaks it to what is behind
    it as nginx does by default, would take their sizes for part of the answer."""

    _until_close = False
    """Whether the answer has no length, and ends with its connection."""

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            self._until_close = b"content-length" not in names
            if self._until_close:
                self.chunked_encoding = False
        elif message["type"] == "http.response.body" and self._until_close:
            # uvicorn compares what is written with what was promised: nothing was.
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)
