"""A port that nothing listens on."""

from __future__ import annotations

import contextlib
import secrets
import socket


def free_port() -> int:
    """Below the ports of outgoing connections, of which one might take it before the server that it
    is for has started."""
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
