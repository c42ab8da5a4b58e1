"""Runs the service under uvicorn, with an end that loses no request."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping

import uvicorn

from bon_common.draining import BACKLOG, DrainingServer, server_config
from bon_common.listening import bind, listening_host
from bon_common.process import raise_descriptor_limit, spare_the_collector
from reward_server.http.app import create_app
from reward_server.http.auth import Keys
from reward_server.http.service import Service
from reward_server.model_path import check_place
from reward_server.model_settings import ModelSettings
from reward_server.settings import Settings

CLOSING_S = 1
"""Seconds for answers that are still being written when the socket closes."""

logger = logging.getLogger("reward_server.server")


class _Server(DrainingServer):
    """Refuses requests while it drains, so that it ends with the last one that came before."""

    def __init__(self, config: uvicorn.Config, keys: Keys, drain_grace_s: float) -> None:
        super().__init__(
            config, logger, drain_delay_s=drain_grace_s, drain_grace_s=CLOSING_S, until_idle=True
        )
        self._keys = keys

    def hang_up(self) -> None:
        self._keys.reload()


def serve(settings: Settings, environ: Mapping[str, str]) -> None:
    """Serve until a signal; blocks. Raises StartupError for a model that cannot be served, and
    SettingsError for an address or keys that cannot be used."""
    # All of them before the first is loaded.
    for one in settings.served.values():
        if isinstance(one, ModelSettings):
            check_place(one.model)
    # Ignored until there are keys to reload: by default the signal ends a process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def stop() -> None:
        server.should_exit = True

    raise_descriptor_limit()
    if (os.cpu_count() or 1) < 2:
        # The library would have a single thread, where a short text waits for a long one.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    app = create_app(settings, environ=environ, on_failure=stop, on_ready=spare_the_collector)
    service: Service = app.state.service
    keys: Keys = app.state.keys
    config = server_config(app, settings, close_within_s=CLOSING_S)
    server = _Server(config, keys, settings.drain_grace_s)
    # Bound before the model is loaded, so that a port in use is known at once.
    with bind(listening_host(settings.host, open_access=keys.open), settings.port) as listener:
        # A client may connect as soon as it reads the line below. Its connection then waits until
        # uvicorn accepts it.
        listener.listen(BACKLOG)
        address = listener.getsockname()
        logger.info("listening", extra={"fields": {"host": address[0], "port": address[1]}})
        server.run(sockets=[listener])
    if service.failure is not None:
        raise service.failure
