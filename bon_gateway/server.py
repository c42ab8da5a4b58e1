"""Runs the app: the socket, uvicorn, and an orderly end.

One worker serves in this process; more are processes of their own that share one listening
socket (``supervisor``). On the first SIGTERM or SIGINT readiness goes false at once, requests are
still taken for ``drain_delay_s``, then the socket closes and requests in flight may finish within
``drain_grace_s``. A second signal ends the process at once.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from bon_common import logs
from bon_common.collector import spare_the_collector
from bon_common.descriptors import raise_descriptor_limit
from bon_common.http.connections import bounded_http
from bon_common.http.limits import HttpLimits
from bon_gateway.lifecycle import Lifecycle
from bon_gateway.process.supervisor import Report, Supervisor
from bon_gateway.reload.reloader import Reloader
from bon_gateway.settings.tree import ServerSettings, Settings
from bon_gateway.settings_errors import SettingsError

BACKLOG = 2048

AppFactory = Callable[[Settings], Starlette]
"""Makes the app, with its ``Lifecycle`` at ``app.state.lifecycle``. A function of a module, so that
worker processes can import it."""

_log = logging.getLogger("bon_gateway.server")


def run(
    app_factory: AppFactory, settings: Settings, *, open_access: bool, hint: str | None = None
) -> int:
    """Serve until a signal ends it; the exit code.

    ``open_access`` says that no API key is set. ``hint`` is printed after the address, with
    ``{url}`` filled in. Raises SettingsError if the address cannot be listened on.
    """
    server = settings.server
    # Until there is something to reload.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logs.configure(server.log_level)
    raise_descriptor_limit()
    host = listening_host(server.host, open_access=open_access)
    with bind(host, server.port) as listener:
        if open_access and not _is_loopback(host):
            _log.warning("no API key is set: everybody who reaches %s may use this gateway", host)
        announce = partial(_announce, _url(listener), hint)
        if server.workers == 1:
            return _serve(app_factory, settings, listener, announce)
        work = partial(work_until_told, app_factory, settings, listener)
        return Supervisor(work, server.workers, announce, listener).run()


def listening_host(host: str | None, *, open_access: bool) -> str:
    """Without API keys only this machine may call, unless the settings name an address."""
    if host is not None:
        return host
    return "127.0.0.1" if open_access else "0.0.0.0"  # noqa: S104 - keys guard it


def bind(host: str, port: int) -> socket.socket:
    """A bound TCP socket; port 0 takes a free one. Raises SettingsError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, ValueError) as error:
        # A ValueError is a name that cannot be encoded.
        reason = error.strerror if isinstance(error, OSError) else "is no host name"
        raise SettingsError("server", "server.host", f"{host}: {reason}") from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        reason = f"cannot listen on {host} port {port}: {error.strerror}"
        raise SettingsError("server", "server.port", reason) from None
    return listener


class DrainingServer(uvicorn.Server):
    """uvicorn with a drain that begins before the socket closes."""

    def __init__(
        self, config: uvicorn.Config, drain_delay_s: float, announce: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._drain_delay_s = drain_delay_s
        self._announce = announce
        self._closing_at: float | None = None
        self._signal: signal.Signals | None = None
        """That ended it, until the log has it."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by uvicorn for SIGTERM and SIGINT, between any two steps of the program."""
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

    def signalled_again(self, sig: int) -> None:
        """The exit handlers would wait for what is in flight, so they do not run."""
        os._exit(128 + sig)

    async def on_tick(self, counter: int) -> bool:
        self._say_stopping()
        if self._closing_at is not None and time.monotonic() >= self._closing_at:
            self.should_exit = True
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # Before the first request: whoever signals does not know how far the start has come.
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hang_up)
        await super().startup(sockets)
        spare_the_collector()
        self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._say_stopping()
        began = time.monotonic()
        await super().shutdown(sockets)
        fields = {"after_s": round(time.monotonic() - began, 3), "pid": os.getpid()}
        _log.info("stopped", extra={"fields": fields})

    def _say_stopping(self) -> None:
        """Not in the signal's handler, which may have interrupted the writing of a line."""
        if self._signal is None:
            return
        lifecycle = self._lifecycle()
        fields = {
            "signal": self._signal.name,
            "pid": os.getpid(),
            "requests_in_flight": lifecycle.in_flight if lifecycle is not None else 0,
            "drain_delay_s": self._drain_delay_s,
            "drain_grace_s": self.config.timeout_graceful_shutdown,
        }
        self._signal = None
        _log.info("stopping", extra={"fields": fields})

    def _hang_up(self) -> None:
        reloader = self.reloader()
        if reloader is not None and self._closing_at is None:
            reloader.ask()

    def reloader(self) -> Reloader | None:
        """The app's, if it can read its settings again."""
        found: Reloader | None = getattr(self.config.loaded_app.state, "reloader", None)
        return found

    def _lifecycle(self) -> Lifecycle | None:
        """The app's own, once the app is there."""
        if not self.config.loaded:
            return None
        lifecycle: Lifecycle = self.config.loaded_app.state.lifecycle
        return lifecycle


class Worker(DrainingServer):
    """One of several. A terminal or a service manager signals the whole process group, and the
    supervisor then signals once more: that is no second wish. It kills who is to end at once."""

    def __init__(self, config: uvicorn.Config, drain_delay_s: float, report: Report) -> None:
        super().__init__(config, drain_delay_s, report.serving)
        self._report = report

    def signalled_again(self, sig: int) -> None:
        pass

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        reloader = self.reloader()
        if reloader is not None:
            reloader.tell = self._report.keep
        await super().startup(sockets)


def work_until_told(
    app_factory: AppFactory,
    settings: Settings,
    listener: socket.socket,
    report: Report,
    newest: object | None,
) -> None:
    """The main function of a worker process. ``newest`` are the settings that a worker before it
    took over last."""
    if isinstance(newest, Settings):
        settings = newest
    logs.configure(settings.server.log_level)
    config = _config(app_factory, settings)
    Worker(config, settings.server.drain_delay_s, report).run(sockets=[listener])


def _serve(
    app_factory: AppFactory,
    settings: Settings,
    listener: socket.socket,
    announce: Callable[[], None],
) -> int:
    server = DrainingServer(_config(app_factory, settings), settings.server.drain_delay_s, announce)
    server.run(sockets=[listener])
    return 0


def _config(app_factory: AppFactory, settings: Settings) -> uvicorn.Config:
    server: ServerSettings = settings.server
    return uvicorn.Config(
        partial(app_factory, settings),
        factory=True,
        interface="asgi3",
        loop="uvloop",
        http=bounded_http(_http_limits(server)),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        workers=1,
        backlog=BACKLOG,
        timeout_graceful_shutdown=math.ceil(server.drain_grace_s),
    )


def _http_limits(server: ServerSettings) -> HttpLimits:
    return HttpLimits(
        max_head_bytes=server.max_head_bytes,
        head_timeout_s=server.head_timeout_s,
        body_timeout_s=server.body_timeout_s,
        write_timeout_s=server.write_timeout_s,
        max_connections=server.max_connections,
    )


def _announce(url: str, hint: str | None) -> None:
    sys.stderr.write(f"listening on {url}\n")
    if hint is not None:
        sys.stderr.write(hint.replace("{url}", url) + "\n")
    sys.stderr.flush()


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
