"""A port that nothing listens on."""

from __future__ import annotations

import contextlib
import secrets
import socket


def free_port() -> int:
    """Below the range that the system uses for outgoing connections. One of those could take the
    port before the server starts."""
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
