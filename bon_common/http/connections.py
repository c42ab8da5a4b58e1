"""All connections of one server: a limit on their number, and a clock that checks each.

uvicorn takes a ``Connections`` as its ``http`` protocol: calling it makes the protocol of one new
connection. One timer serves all, because a timer for each request would cost more than all other
limits together.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import Counter
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from bon_common.http.protocol import BoundedHttpProtocol
from bon_common.http.refusal import Refusal
from bon_common.http.settings import HttpServerSettings
from bon_common.process import connections_allowed


def bounded_http(limits: HttpServerSettings) -> type[asyncio.Protocol]:
    """For ``uvicorn.Config(http=...)``, which is typed as a class but only called."""
    return cast("type[asyncio.Protocol]", Connections(limits))


LONGEST_TICK_S = 1.0
TICKS_IN_A_LIMIT = 4

_log = logging.getLogger("bon_common.http")


class Connections:
    """The limits of one server process, and the connections under them."""

    def __init__(self, limits: HttpServerSettings) -> None:
        self._limits = limits
        self._most = limits.max_connections or connections_allowed()
        self._lingering = max(4, self._most // 8)
        """Refused connections that may wait for their clients to read why."""
        self._open: dict[BoundedHttpProtocol, None] = {}
        """In the order in which they came, for which the loop's clock is too coarse: uvloop's has
        steps of a millisecond."""
        self._refused: Counter[str] = Counter()
        self._ticking = False
        shortest = min(limits.head_timeout_s, limits.body_timeout_s, limits.write_timeout_s)
        self._tick_s = min(LONGEST_TICK_S, shortest / TICKS_IN_A_LIMIT)

    def __call__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> BoundedHttpProtocol:
        return BoundedHttpProtocol(config, server_state, app_state, _loop, self._limits, self)

    def joined(self, connection: BoundedHttpProtocol) -> bool:
        """Add a new connection. Returns whether it may send requests. It is aborted here if there
        are too many even to be refused with an answer."""
        self._open[connection] = None
        if not self._ticking:
            self._ticking = True
            connection.loop.call_later(self._tick_s, self._tick, connection.loop)
        if len(self._open) <= self._most or self._close_idle(connection):
            return True
        if len(self._open) > self._most + self._lingering:
            self._refused["aborted"] += 1
            connection.transport.abort()
        return False

    def left(self, connection: BoundedHttpProtocol) -> None:
        self._open.pop(connection, None)

    def refused(self, refusal: Refusal) -> None:
        self._refused[refusal.code] += 1

    def _close_idle(self, new: BoundedHttpProtocol) -> int:
        """Close the connections that have been idle longest, and return how many: several at once,
        so that a flood of new connections does not search all of them each time."""
        idle = [one for one in self._open if one.idle and one is not new]
        longest = heapq.nsmallest(max(1, self._most // 32), idle, key=lambda one: one.idle_since)
        for connection in longest:
            connection.transport.abort()
            self._open.pop(connection, None)
        if longest:
            self._refused["idle_closed"] += len(longest)
        return len(longest)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in tuple(self._open):
            connection.check(now)
        if self._refused:
            fields = {"counts": dict(self._refused), "connections": len(self._open)}
            _log.warning("clients were refused before their request", extra={"fields": fields})
            self._refused.clear()
        self._ticking = bool(self._open)
        if self._ticking:
            loop.call_later(self._tick_s, self._tick, loop)
