"""uvicorn's cycle of one request and response, adapted to how ``protocol`` ends connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class CycleTransport:
    """The part of a transport that a cycle uses; the protocol decides when to close.

    A head waits for a body written in the same turn of the event loop, so that both leave in one
    packet and wake the client once.
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
        """A new answer: the next write is its head."""
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
        """Write a head that still waits. Call it before writing past this object, or closing."""
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
    """For HTTP/1.0, which has no chunks: such a client would take their sizes for part of the
    answer. nginx speaks it to its upstreams by default."""

    _until_close = False
    """Whether the answer has no length and ends with the connection."""

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            self._until_close = b"content-length" not in names
            if self._until_close:
                self.chunked_encoding = False
        elif message["type"] == "http.response.body" and self._until_close:
            # uvicorn compares the bytes written with the length promised, and none was.
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)
