"""One HTTP/1.1 connection to an upstream, which carries one exchange after another.

Fanning out is most of what a gateway does, so a call to an upstream has to cost little: httptools
parses, and the rest is here. A general client spends four times the CPU time on redirects, cookies,
tracing and objects that nothing here would use. Other modules decide which connection serves which
call (``origin``) and what a failure means (``faults``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

HIGH_WATER_BYTES = 1 << 18
"""Bytes of a stream that may wait to be taken; beyond that the upstream has to wait."""
MAX_HEAD_BYTES = 1 << 16
"""Bytes that an answer may hold in headers and everything else that is not its body."""
MAX_BODY_BYTES = 1 << 26
_NO_BODY = frozenset({204, 304})


class TransportError(Exception):
    """An exchange that did not end as it should. A timeout is a TimeoutError instead."""


class ConnectError(TransportError):
    """No connection could be made. ``refused``: nobody listens there. ``ours``: this process lacks
    something, such as a file descriptor."""

    def __init__(self, reason: str, *, refused: bool = False, ours: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused
        self.ours = ours


class HungUpError(TransportError):
    """The upstream closed the connection without an answer. ``stale``: the connection had served
    before and not one byte came back, so it was probably closed while it was idle."""

    def __init__(self, reason: str, *, stale: bool = False) -> None:
        super().__init__(reason)
        self.stale = stale


class BrokenAnswerError(TransportError):
    """The answer is cut off, or it is not HTTP."""


class UnusableAnswerError(TransportError):
    """The answer is HTTP, but too large or compressed."""


class Connection(asyncio.Protocol):
    """Made by the event loop. ``on_lost`` is called once, when it is closed for whatever reason.

    A call is ``send`` and then either ``ended`` and
    ``answer``, or ``status`` and ``block``. They raise
    TransportError or TimeoutError. A caller that stops on the way must ``abort``.
    """

    def __init__(
        self, on_lost: Callable[[Connection], None], max_body_bytes: int = MAX_BODY_BYTES
    ) -> None:
        """``max_body_bytes`` bounds the body of an answer that is kept until it has ended."""
        self._loop = asyncio.get_running_loop()
        self._on_lost = on_lost
        self._max_body_bytes = max_body_bytes
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        """Runs on from one exchange to the next. If it fires too early, it is set again. That costs
        less than a new timer for each exchange."""
        self._due = 0.0
        """The exchange's deadline, by the loop's clock."""
        self._busy = False
        """Whether a request is out whose answer has not ended."""
        self._whole = False
        """Whether the caller waits for the end of the answer."""
        self._keep = False
        """Whether the upstream would take another request."""
        self._last = False
        """Whether the request asked the upstream to close the connection."""
        self._aborted = False
        self._exchanges = 0
        self._silent = True
        """Whether no byte of the answer has come."""
        self._unclaimed = 0
        """Bytes received since the last piece of a body. The parser keeps them in memory."""
        self._error: Exception | None = None
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._blocks: list[bytes] = []
        self._held = 0
        self._paused = False
        self.lost = False

    @property
    def reusable(self) -> bool:
        """Whether the last answer has ended and another request may be sent.

        A paused connection cannot be used again: nothing more would be read from it.
        """
        return self._keep and not (self._busy or self.lost or self._paused)

    def send(self, head: bytes, body: bytes, timeout: float, *, last: bool = False) -> float:
        """Begin an exchange, which fails if it has not ended after ``timeout`` seconds.

        ``last``: ``head`` asks the upstream to close the connection. It is then not used again even
        if the answer does not repeat that (RFC 9112, 9.6).
        """
        assert self._transport is not None, "the event loop has connected it"
        self._busy = True
        self._keep = False
        self._last = last
        self._exchanges += 1
        self._silent = True
        self._unclaimed = 0
        self._error = None
        self._status = 0
        self._headers = []
        self._blocks = []
        self._held = 0
        now = self._loop.time()
        self._due = now + timeout
        if self._timer is not None and self._timer.when() > self._due:
            self._stop_timer()
        if self._timer is None:
            self._timer = self._loop.call_at(self._due, self._look_at_clock)
        self._transport.writelines((head, body))
        return now

    def elapsed(self, since: float) -> float:
        """Seconds since ``send`` returned ``since``."""
        return self._loop.time() - since

    async def ended(self) -> None:
        """Wait until the whole answer has arrived; ``answer`` then returns it."""
        self._whole = True
        if self._busy:
            await self._wait()
        if self._error is not None:
            raise self._error

    @property
    def answer(self) -> tuple[int, bytes]:
        """The status and the whole body of an answer that has ``ended``."""
        return self._status, b"".join(self._blocks)

    async def status(self) -> int:
        """The status, as soon as the answer begins."""
        self._whole = False
        while not self._status:
            if self._error is not None:
                raise self._error
            await self._wait()
        return self._status

    async def block(self) -> bytes:
        """The part of the body that has arrived since the last call; empty at its end."""
        while not self._blocks:
            if self._error is not None:
                raise self._error
            if not self._busy:
                return b""
            await self._wait()
        taken = b"".join(self._blocks)
        self._blocks.clear()
        self._held = 0
        if self._paused:
            self._paused = False
            assert self._transport is not None
            self._transport.resume_reading()
        return taken

    def header(self, name: bytes) -> str | None:
        """A header of the answer by its name in lower case."""
        length = len(name)
        for known, value in self._headers:
            if len(known) == length and known.lower() == name:
                return value.decode("latin-1")
        return None

    def abort(self) -> None:
        """Close at once, so that the upstream stops working on the answer."""
        self._aborted = True
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _end(self, error: Exception | None = None) -> None:
        self._busy = False
        self._error = error
        self._wake()

    def _fail(self, error: Exception) -> None:
        """End the exchange and the connection, whose place in the answer is not known now."""
        if self._busy:
            self._end(error)
        self.abort()

    def _look_at_clock(self) -> None:
        self._timer = None
        if not self._busy:
            return
        if self._loop.time() < self._due:
            self._timer = self._loop.call_at(self._due, self._look_at_clock)
        else:
            self._fail(TimeoutError("the answer took too long"))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            # Data without a request: a farewell such as 408, or the rest of a broken answer.
            self.abort()
            return
        self._silent = False
        self._unclaimed += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(BrokenAnswerError(type(error).__name__))
            return
        if self._unclaimed > MAX_HEAD_BYTES:
            # A header, a trailer or a chunk's extension that does not end. A single read may hold
            # more bytes of a body, but those the parser has passed on already.
            self._fail(_too_large("head", MAX_HEAD_BYTES))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._busy:
            if not self._status:
                stale = self._silent and self._exchanges > 1 and not self._aborted
                self._end(HungUpError("the connection was closed", stale=stale))
            elif exc is None and self._ends_with_connection():
                self._end()
            else:
                self._end(BrokenAnswerError("the connection was closed"))
        self._stop_timer()
        self._on_lost(self)

    # What the parser calls.

    def on_message_begin(self) -> None:
        if not self._busy:
            # A second answer after the first. It would be taken for the next request's answer.
            self._keep = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._busy:
            return
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if not self._busy:
            return
        if self._unclaimed > MAX_HEAD_BYTES and self._head_bytes() > MAX_HEAD_BYTES:
            self._fail(_too_large("head", MAX_HEAD_BYTES))
            return
        status = self._parser.get_status_code()
        if status < 200:
            # 100 and 103 come before the answer.
            self._headers = []
            return
        coding = self.header(b"content-encoding")
        if coding is not None and coding.strip().lower() not in ("", "identity"):
            named = coding[:40] if coding.isprintable() else "in some way"
            self._fail(
                UnusableAnswerError(f"it is compressed ({named}), though identity was asked for")
            )
            return
        self._status = status
        if not self._whole:
            self._wake()

    def on_body(self, body: bytes) -> None:
        if not self._busy:
            return
        self._unclaimed = 0
        self._blocks.append(body)
        self._held += len(body)
        if self._whole:
            if self._held > self._max_body_bytes:
                self._fail(_too_large("body", self._max_body_bytes))
            return
        if self._held > HIGH_WATER_BYTES and not self._paused:
            assert self._transport is not None
            self._transport.pause_reading()
            self._paused = True
        self._wake()

    def on_message_complete(self) -> None:
        if self._busy and self._status:
            # After a 5xx the upstream may have left the connection in any state.
            self._keep = self._parser.should_keep_alive() and not self._last and self._status < 500
            self._end()

    def _head_bytes(self) -> int:
        return sum(len(name) + len(value) for name, value in self._headers)

    def _ends_with_connection(self) -> bool:
        """Whether the answer has neither a length nor chunks."""
        return (
            self._status not in _NO_BODY
            and self.header(b"content-length") is None
            and self.header(b"transfer-encoding") is None
        )


def _too_large(what: str, limit: int) -> UnusableAnswerError:
    return UnusableAnswerError(f"its {what} is larger than {limit} bytes")
