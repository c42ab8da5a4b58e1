"""An orderly end for a server under uvicorn.

On the first SIGTERM or SIGINT readiness goes false at once, and requests are still answered for
``drain_delay_s``. Then the socket closes, and requests in flight may finish within the grace time.
A second signal ends the process at once.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import socket
import time
from types import FrameType
from typing import Any

import uvicorn

from bon_common.http.connections import bounded_http
from bon_common.http.settings import HttpServerSettings
from bon_common.lifecycle import Lifecycle

BACKLOG = 2048


def server_config(
    app: Any, limits: HttpServerSettings, *, close_within_s: float, factory: bool = False
) -> uvicorn.Config:
    """How both servers run uvicorn: within this package's limits and with its logs. ``app`` is the
    application, or with ``factory`` a function that makes it."""
    return uvicorn.Config(
        app,
        factory=factory,
        interface="asgi3",
        loop="uvloop",
        http=bounded_http(limits),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        workers=1,
        backlog=BACKLOG,
        timeout_graceful_shutdown=math.ceil(close_within_s),
    )


class DrainingServer(uvicorn.Server):
    """uvicorn with a drain that begins before the socket closes.

    It drains the app's ``state.lifecycle``. With ``until_idle`` the drain ends as soon as no
    request is in flight.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        logger: logging.Logger,
        *,
        drain_delay_s: float,
        drain_grace_s: float,
        until_idle: bool = False,
    ) -> None:
        super().__init__(config)
        self._log = logger
        self._drain_delay_s = drain_delay_s
        self._drain_grace_s = drain_grace_s
        self._until_idle = until_idle
        self._closing_at: float | None = None
        self._signal: signal.Signals | None = None
        """The signal that ends the server, until it is logged."""

    def serving(self) -> None:
        """Called when the app has started and the socket is open."""

    def hang_up(self) -> None:
        """Called on SIGHUP, unless the server is about to stop."""

    def signalled_again(self, sig: int) -> None:
        """Called on a second signal. Skips the exit handlers, which would wait for requests."""
        os._exit(128 + sig)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """uvicorn calls it on SIGTERM and SIGINT, between any two steps of the program."""
        if self._closing_at is not None:
            self.signalled_again(sig)
            return
        self._closing_at = time.monotonic() + self._drain_delay_s
        self._signal = signal.Signals(sig)
        lifecycle = self._lifecycle()
        if lifecycle is not None:
            lifecycle.drain()
        if lifecycle is None or self._drain_delay_s == 0:
            self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        self._say_stopping()
        if self._closing_at is not None:
            idle = self._until_idle and self._in_flight() == 0
            if idle or time.monotonic() >= self._closing_at:
                self.should_exit = True
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # Set early, because a signal may come at any moment of the start.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hung_up)
        await super().startup(sockets)
        self.serving()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._say_stopping()
        began = time.monotonic()
        await super().shutdown(sockets)
        fields = {"after_s": round(time.monotonic() - began, 3), "pid": os.getpid()}
        self._log.info("stopped", extra={"fields": fields})

    def _say_stopping(self) -> None:
        """Log the signal. Its handler cannot, as it may have interrupted the writing of a line."""
        if self._signal is None:
            return
        fields = {
            "signal": self._signal.name,
            "pid": os.getpid(),
            "requests_in_flight": self._in_flight(),
            "drain_delay_s": self._drain_delay_s,
            "drain_grace_s": self._drain_grace_s,
        }
        self._signal = None
        self._log.info("stopping", extra={"fields": fields})

    def _hung_up(self) -> None:
        if self._closing_at is None:
            self.hang_up()

    def _in_flight(self) -> int:
        lifecycle = self._lifecycle()
        return 0 if lifecycle is None else lifecycle.in_flight

    def _lifecycle(self) -> Lifecycle | None:
        """The app's own, or None before the app is loaded."""
        if not self.config.loaded:
            return None
        lifecycle: Lifecycle = self.config.loaded_app.state.lifecycle
        return lifecycle
