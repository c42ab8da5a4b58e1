"""Runs the service under uvicorn, with a shutdown that loses no request."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from types import FrameType

import uvicorn

from bon_common.collector import spare_the_collector
from bon_common.descriptors import raise_descriptor_limit
from bon_common.http.connections import bounded_http
from bon_common.http.limits import HttpLimits
from reward_server.errors import StartupError
from reward_server.http.app import create_app
from reward_server.http.auth import Keys
from reward_server.http.service import Service
from reward_server.settings import Settings

logger = logging.getLogger("reward_server.server")


class _Server(uvicorn.Server):
    """On the first signal: no longer ready, finish what is under way, then stop.

    uvicorn alone would stop listening first, and end the process by the signal itself.
    """

    def __init__(self, config: uvicorn.Config, service: Service, keys: Keys) -> None:
        super().__init__(config)
        self._service = service
        self._keys = keys
        self._draining: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGHUP, self._keys.reload)
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._loop is None or self._service.draining:
            self.should_exit = True
            return
        self._service.drain()
        self._loop.call_soon_threadsafe(self._begin_drain, signal.Signals(sig).name)

    def _begin_drain(self, name: str) -> None:
        logger.info("%s: draining", name)
        self._draining = asyncio.ensure_future(self._drain())

    async def _drain(self) -> None:
        grace_s = self._service.settings.drain_grace_s
        try:
            async with asyncio.timeout(grace_s):
                await self._service.idle()
        except TimeoutError:
            logger.warning("requests were still under way after %.1f s", grace_s)
        finally:
            self.should_exit = True


def serve(settings: Settings) -> None:
    """Serve until a signal; blocks. Raises StartupError when the settings cannot be served, and
    SettingsError for keys that cannot be used."""
    # Until there is something to reload.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def stop() -> None:
        server.should_exit = True

    raise_descriptor_limit()
    if (os.cpu_count() or 1) < 2:
        # With one thread of the library's for all, a short text would wait for a long one.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    app = create_app(settings, on_failure=stop, on_ready=spare_the_collector)
    service: Service = app.state.service
    server = _Server(
        uvicorn.Config(
            app,
            loop="uvloop",
            http=bounded_http(
                HttpLimits(
                    max_head_bytes=settings.max_head_bytes,
                    head_timeout_s=settings.head_timeout_s,
                    body_timeout_s=settings.body_timeout_s,
                    write_timeout_s=settings.write_timeout_s,
                    max_connections=settings.max_connections,
                )
            ),
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        ),
        service,
        app.state.keys,
    )
    with _listen(settings) as listener:
        address = listener.getsockname()
        logger.info("listening", extra={"fields": {"host": address[0], "port": address[1]}})
        server.run(sockets=[listener])
        logger.info("stopped")
    if service.failure is not None:
        raise service.failure


def _listen(settings: Settings) -> socket.socket:
    """Bind before the model is loaded, so that a port in use is known at once."""
    host = settings.bind_host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, settings.port), family=family, backlog=2048)
    except (OSError, ValueError) as error:
        # A ValueError is a name that cannot be encoded.
        number = error.errno if isinstance(error, OSError) else None
        reason = os.strerror(number) if number and number > 0 else str(error)
        raise StartupError("port", f"{host}:{settings.port}: {reason}") from error
