"""Runs the app: the socket, uvicorn, and the workers.

One worker serves in this process. Several are processes of their own that share one listening
socket (``supervisor``). ``bon_common.draining`` ends them in an orderly way.
"""

from __future__ import annotations

import logging
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial

import uvicorn
from starlette.applications import Starlette

from bon_common import logs
from bon_common.draining import DrainingServer, server_config
from bon_common.listening import bind, is_loopback, listening_host
from bon_common.process import raise_descriptor_limit, spare_the_collector
from bon_gateway.process.supervisor import Report, Supervisor
from bon_gateway.reload.reloader import Reloader
from bon_gateway.sections.server import ServerSettings
from bon_gateway.settings.doubts import doubts
from bon_gateway.settings.tree import Settings

AppFactory = Callable[[Settings], Starlette]
"""Makes the app, with its ``Lifecycle`` at ``app.state.lifecycle``. It must be a function of a
module, so that worker processes can import it."""

_log = logging.getLogger("bon_gateway.server")


def run(
    app_factory: AppFactory, settings: Settings, *, open_access: bool, hint: str | None = None
) -> int:
    """Serve until a signal ends it. Returns the exit code.

    ``open_access``: no API key is set. ``hint`` is printed after the address, with ``{url}`` filled
    in. Raises SettingsError if the address cannot be listened on.
    """
    server = settings.server
    # A SIGHUP must not end the process before there is something to reload.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    logs.configure(server.log_level)
    for doubt in doubts(settings):
        _log.warning("%s", doubt)
    raise_descriptor_limit()
    host = listening_host(server.host, open_access=open_access)
    with bind(host, server.port, "server.") as listener:
        if open_access and not is_loopback(host):
            _log.warning("no API key is set: everybody who reaches %s may use this gateway", host)
        announce = partial(_announce, _url(listener), hint)
        if server.workers == 1:
            GatewayServer(_config(app_factory, settings), server, announce).run(sockets=[listener])
            return 0
        work = partial(work_until_told, app_factory, settings, listener)
        return Supervisor(work, server.workers, announce, listener).run()


class GatewayServer(DrainingServer):
    """A server that reads its settings again on SIGHUP."""

    def __init__(
        self, config: uvicorn.Config, settings: ServerSettings, announce: Callable[[], None]
    ) -> None:
        super().__init__(
            config, _log, drain_delay_s=settings.drain_delay_s, drain_grace_s=settings.drain_grace_s
        )
        self._announce = announce

    def serving(self) -> None:
        spare_the_collector()
        self._announce()

    def hang_up(self) -> None:
        reloader = self.reloader()
        if reloader is not None:
            reloader.ask()

    def reloader(self) -> Reloader | None:
        """The app's reloader, if it can read its settings again."""
        found: Reloader | None = getattr(self.config.loaded_app.state, "reloader", None)
        return found


class WorkerServer(GatewayServer):
    """The server of one of several workers. A terminal or a service manager signals the whole
    process group, and the supervisor then signals again, which does not mean more haste: the
    supervisor kills workers that must end at once."""

    def __init__(self, config: uvicorn.Config, settings: ServerSettings, report: Report) -> None:
        super().__init__(config, settings, report.serving)
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
    """The main function of a worker process. ``newest`` are the newest settings that another worker
    took over, if any."""
    if isinstance(newest, Settings):
        settings = newest
    logs.configure(settings.server.log_level)
    config = _config(app_factory, settings)
    WorkerServer(config, settings.server, report).run(sockets=[listener])


def _config(app_factory: AppFactory, settings: Settings) -> uvicorn.Config:
    server: ServerSettings = settings.server
    make_app = partial(app_factory, settings)
    return server_config(make_app, server, close_within_s=server.drain_grace_s, factory=True)


def _announce(url: str, hint: str | None) -> None:
    sys.stderr.write(f"listening on {url}\n")
    if hint is not None:
        sys.stderr.write(hint.replace("{url}", url) + "\n")
    sys.stderr.flush()


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
