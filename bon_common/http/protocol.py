"""HTTP/1.1 for one connection, within limits of size and time.

uvicorn's protocol trusts its clients: it takes headers of any length and never gives up waiting. It
closes in a way that loses the answer of a client that still writes. This subclass replaces the
parsing and the closing; uvicorn still runs the application and writes the response.
``connections`` holds all connections and calls ``check`` from time to time.
"""

from __future__ import annotations

import asyncio
import math
import urllib.parse
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, NoReturn, Protocol

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from bon_common.http import refusal as refusals
from bon_common.http.clocks import BodyClock, WriteClock
from bon_common.http.cycle import ChunklessCycle, Cycle, CycleTransport
from bon_common.http.limits import (
    HALF_CLOSE_GRACE_S,
    HALF_CLOSE_S,
    LINGER_BYTES,
    LINGER_IDLE_S,
    LINGER_S,
    MAX_FIELDS,
    MAX_REQUEST_ID_BYTES,
)
from bon_common.http.refusal import Refusal
from bon_common.http.settings import HttpServerSettings

ON_LEAVING = "bon.call_on_leaving"
"""Key of an ASGI scope, where ``BoundedHttpProtocol.call_on_leaving`` stands."""
_WATCHED = frozenset({b"host", b"expect", b"x-request-id"})
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class Crowd(Protocol):
    """All connections of the server, as each of them sees the others."""

    def joined(self, connection: BoundedHttpProtocol) -> bool: ...
    def left(self, connection: BoundedHttpProtocol) -> None: ...
    def refused(self, refusal: Refusal) -> None: ...


class _Next(Enum):
    """What the next byte from the client belongs to."""

    BETWEEN = auto()
    """A new request; earlier ones may not be answered yet."""
    HEAD = auto()
    BODY = auto()
    NOTHING = auto()
    """No request: after a refusal all bytes are read and discarded."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection. By ``idle`` and ``idle_since`` the crowd chooses connections to close."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        loop: asyncio.AbstractEventLoop | None,
        limits: HttpServerSettings,
        crowd: Crowd,
    ) -> None:
        super().__init__(config, server_state, app_state, loop)
        self._limits = limits
        self._crowd = crowd
        self._next = _Next.BETWEEN
        self._deadline = 0.0
        """When BETWEEN, HEAD or NOTHING must end, unless a response is under way."""
        self._allowance = limits.max_head_bytes
        """Bytes that may still come before a head is complete or a byte of a body has come."""
        self._body_bytes = 0
        """Bytes of all bodies on this connection; after a refusal, the bytes discarded since."""
        self._hosts = 0
        self._ignoring_upgrade = False
        self._replaying = False
        self.cycle: Cycle = None  # type: ignore[assignment] # as uvicorn has it
        self._active: Cycle | None = None
        """The request whose response is under way; ``cycle`` is the last one parsed."""
        self._fault: Refusal | None = None
        """Why a callback stopped the parser."""
        self._last_word: Refusal | None = None
        """The refusal to send once the requests before it are answered."""
        self._complete_at = 0.0
        self._half_closed = False
        self._gone_at = math.inf
        self._body_clock = BodyClock(limits.body_timeout_s)
        self._linger_clock = BodyClock(LINGER_IDLE_S)
        self._write_clock = WriteClock(limits.write_timeout_s)
        self.idle_since = 0.0
        self._on_leaving: Callable[[], None] | None = None

    # ------------------------------------------------------------------ the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._cycle_transport = CycleTransport(transport, self._close_after_response, self.loop)
        self.idle_since = self.loop.time()
        self._deadline = self.idle_since + self._limits.head_timeout_s
        if not self._crowd.joined(self) and not transport.is_closing():
            self._refuse(refusals.TOO_MANY_CONNECTIONS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.left(self)
        # uvicorn informs only the last request parsed; with pipelining others run or wait.
        for cycle in (self._active, *(waiting for waiting, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()
        self._tell_leaving()
        super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The client ended its side. Returns whether the connection stays open for the answers."""
        if self._half_closed:
            return True
        soon = self.loop.time() - self._complete_at <= HALF_CLOSE_S
        if self._next is not _Next.BETWEEN or self._active is None or not soon:
            return False
        self._half_closed = True
        # A client that is gone looks the same until something is written to it. So its request may
        # run on for a moment, and is then stopped.
        self._gone_at = self.loop.time() + HALF_CLOSE_GRACE_S
        self.cycle.keep_alive = False
        return True

    def call_on_leaving(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` when the current request's client leaves, or now if it has left.
        Returns a function that withdraws the callback.

        ASGI's ``receive`` reports the same, but only to a task that waits for it. Every request
        would pay for such a task, and few clients leave. Applications find this method in their
        scope, at ``ON_LEAVING``.
        """
        self._on_leaving = callback
        if self._active is None or self._active.disconnected:
            self._tell_leaving()
        else:
            # A large body may have paused reading, which would hide the end of the connection.
            self.flow.resume_reading()

        def take_back() -> None:
            # The next request of this connection may have set its own callback.
            if self._on_leaving is callback:
                self._on_leaving = None

        return take_back

    def _tell_leaving(self) -> None:
        callback, self._on_leaving = self._on_leaving, None
        if callback is not None:
            callback()

    def shutdown(self) -> None:
        if self._active is None:
            self._cycle_transport.flush()
            self.transport.close()
            return
        last = self.pipeline[0][0] if self.pipeline else self._active
        last.keep_alive = False

    @property
    def idle(self) -> bool:
        """Whether closing would lose no request."""
        return self._active is None and self._next in (_Next.BETWEEN, _Next.HEAD)

    # ------------------------------------------------------------------ bytes

    def data_received(self, data: bytes) -> None:
        """Feed the parser pieces no larger than what a head may still have.

        The parser keeps an unfinished header line and copies it with each piece, so its input must
        be bounded beforehand.
        """
        start, size = 0, len(data)
        while start < size and self._next is not _Next.NOTHING:
            piece = data[start : start + self._allowance]
            before = self._body_bytes
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                self._ignore_upgrade()
                start += upgrade.args[0]
                continue
            except httptools.HttpParserError:
                self._refuse(self._fault or refusals.UNPARSABLE)
                return
            start += len(piece)
            if self._body_bytes != before:
                self._allowance = self._limits.max_head_bytes
                continue
            if self._next is _Next.BETWEEN and self._active is not None:
                self._allowance = self._limits.max_head_bytes
                continue
            # A head, trailers or chunk extensions: bytes that complete nothing.
            self._allowance -= len(piece)
            if self._allowance <= 0:
                self._refuse(refusals.HEAD_TOO_LARGE)
                return
        if self._next is _Next.NOTHING:
            self._body_bytes += size - start
            if self._body_bytes > LINGER_BYTES:
                self.transport.abort()

    def _ignore_upgrade(self) -> None:
        """Go on in HTTP/1.1, with a new parser that knows how long this request's body is.

        The old one takes what follows an ``Upgrade`` for another protocol. Used again, it would
        read the body as the next request.
        """
        lines = [b"POST / HTTP/1.1"]
        lines += [b"%b: %b" % field for field in self.headers if field[0] in _FRAMING]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._ignoring_upgrade = False
        self._replaying = True
        self.parser.feed_data(b"\r\n".join(lines) + b"\r\n\r\n")

    # ------------------------------------------------------------------ the parser's callbacks

    def on_message_begin(self) -> None:
        if self._replaying:
            return
        super().on_message_begin()
        self._next = _Next.HEAD
        self._hosts = 0
        self._deadline = self.loop.time() + self._limits.head_timeout_s

    def on_url(self, url: bytes) -> None:
        if not self._replaying:
            self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._replaying or self._next is not _Next.HEAD:
            return  # a trailer: no application here reads one, and it must not become a header
        name = name.lower()
        if name in _WATCHED:
            self._watch(name, value)
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._replaying:
            self._replaying = False
            return
        parser, scope = self.parser, self.scope
        version = parser.get_http_version()
        method = parser.get_method().decode("ascii")
        self._check_head(version, method)
        scope["method"] = method
        scope["http_version"] = version
        self._set_target()
        self._ignoring_upgrade = parser.should_upgrade()
        self._next = _Next.BODY
        self._allowance = self._limits.max_head_bytes
        kind = Cycle if version != "1.0" else ChunklessCycle
        self.cycle = cycle = kind(
            scope=scope,
            transport=self._cycle_transport,  # type: ignore[arg-type] # all that a cycle uses
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue and version != "1.0",
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        scope[ON_LEAVING] = self.call_on_leaving  # type: ignore[literal-required]
        if self._active is None:
            self._active = cycle
            self._cycle_transport.begin()
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        if self._ignoring_upgrade:
            return
        self._next = _Next.BETWEEN
        self._complete_at = self.loop.time()
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    # ------------------------------------------------------------------ what the head says

    def _watch(self, name: bytes, value: bytes) -> None:
        if name == b"host":
            self._hosts += 1
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        elif len(value) > MAX_REQUEST_ID_BYTES:
            self._stop_parsing(refusals.REQUEST_ID_TOO_LARGE)

    def _check_head(self, version: str, method: str) -> None:
        if self._hosts != 1 and (self._hosts > 1 or version != "1.0"):
            self._stop_parsing(refusals.NO_HOST)
        if len(self.headers) > MAX_FIELDS:
            self._stop_parsing(refusals.TOO_MANY_FIELDS)
        if method == "CONNECT":
            self._stop_parsing(refusals.BAD_TARGET)

    def _set_target(self) -> None:
        try:
            target = httptools.parse_url(self.url)
            raw_path: bytes = target.path
            path = raw_path.decode("ascii")
        except (httptools.HttpParserInvalidURLError, UnicodeDecodeError, AttributeError):
            self._stop_parsing(refusals.BAD_TARGET)
        self.scope["path"] = self.root_path + (urllib.parse.unquote(path) if "%" in path else path)
        self.scope["raw_path"] = self.root_path.encode("ascii") + raw_path
        self.scope["query_string"] = target.query or b""

    def _stop_parsing(self, refusal: Refusal) -> NoReturn:
        self._fault = refusal
        raise httptools.HttpParserError(refusal.code)

    # ------------------------------------------------------------------ the end of an answer

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        self._active = None
        if self.transport.is_closing() or (self._next is _Next.NOTHING and not self._last_word):
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._active, app = self.pipeline.pop()  # type: ignore[assignment] # our own cycles
            self._cycle_transport.begin()
            self._start_asgi_task(self._active, app)  # type: ignore[arg-type]
        elif self._last_word is not None:
            self._say(self._last_word)
        elif self._next is _Next.BETWEEN:
            self.idle_since = self.loop.time()
            self._deadline = self.idle_since + self._limits.idle_timeout_s

    def _close_after_response(self) -> None:
        """Called by a cycle after its last byte, or when its application broke off."""
        self._last_word = None
        self._cycle_transport.flush()
        if self._half_closed or (self._next is _Next.BETWEEN and not self.flow.read_paused):
            self.transport.close()
        else:
            self._linger()

    def _linger(self) -> None:
        self._next = _Next.NOTHING
        self._body_bytes = 0
        self._deadline = self.loop.time() + LINGER_S
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()

    # ------------------------------------------------------------------ refusing

    def _refuse(self, refusal: Refusal) -> None:
        """End the conversation: ``refusal`` is its last answer, after those that are due."""
        self._crowd.refused(refusal)
        cycle = self.cycle if self._next is _Next.BODY else None
        self._next = _Next.NOTHING
        self._deadline = math.inf
        if cycle is not None and not self._withdraw(cycle):
            self._cycle_transport.flush()
            self.transport.close()
        elif self._active is None:
            self._say(refusal)
        else:
            self._last_word = refusal

    def _withdraw(self, cycle: Cycle) -> bool:
        """Cancel a request whose body will never be whole; False if its answer has begun."""
        if cycle is not self._active:
            self.pipeline.popleft()
            return True
        if cycle.response_started:
            return False
        self._active = None
        cycle.disconnected = True
        cycle.message_event.set()
        self._tell_leaving()
        return True

    def _say(self, refusal: Refusal) -> None:
        self._last_word = None
        self._cycle_transport.flush()
        self.transport.write(refusal.encode(self.server_state.default_headers))
        self._linger()

    # ------------------------------------------------------------------ time

    def resume_writing(self) -> None:
        self._write_clock.stop()
        super().resume_writing()

    def check(self, now: float) -> None:
        """Enforce the time limits. The crowd calls it at each tick of its clock."""
        transport = self.transport
        if now >= self._gone_at and not transport.is_closing():
            transport.close()
        elif self.flow.write_paused or transport.is_closing():
            if self._write_clock.expired(transport.get_write_buffer_size(), now):
                transport.abort()
        elif self._next is _Next.BODY:
            self._check_body(now)
        elif self._next is _Next.NOTHING:
            stalled = self._linger_clock.expired(self, self._body_bytes, now)
            if now >= self._deadline or (stalled and self._active is None):
                transport.abort()
        elif self._next is _Next.HEAD:
            if now >= self._deadline:
                self._refuse(refusals.TOO_SLOW)
        elif self._active is None and now >= self._deadline:
            transport.close()

    def _check_body(self, now: float) -> None:
        cycle = self.cycle
        if self.flow.read_paused or cycle.waiting_for_100_continue or cycle is not self._active:
            self._body_clock.restart()  # the client waits for us
        elif self._body_clock.expired(cycle, self._body_bytes, now):
            self._refuse(refusals.TOO_SLOW)

    def _unset_keepalive_if_required(self) -> None:
        """Does nothing: ``check`` replaces uvicorn's timer."""
