"""The address that a server listens on, and the socket."""

from __future__ import annotations

import socket
from ipaddress import ip_address

from bon_common.settings.errors import SettingsError


def listening_host(host: str | None, *, open_access: bool) -> str:
    """The address to listen on: without API keys loopback only, unless the settings name one."""
    if host is not None:
        return host
    return "127.0.0.1" if open_access else "0.0.0.0"  # noqa: S104 - keys guard it


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bind(host: str, port: int, section: str = "") -> socket.socket:
    """A bound TCP socket; port 0 takes a free one.

    Raises SettingsError for ``host`` or ``port``, whose keys begin with ``section``.
    """
    try:
        # The protocol must be named: asyncio turns Nagle's algorithm off only for sockets that are
        # marked as TCP, and with it an answer waits 40 ms for the client's acknowledgement.
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, ValueError) as error:
        # A ValueError is a name that cannot be encoded.
        reason = error.strerror if isinstance(error, OSError) else "is no host name"
        raise SettingsError("server", f"{section}host", f"{host}: {reason}") from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        reason = f"cannot listen on {host} port {port}: {error.strerror}"
        raise SettingsError("server", f"{section}port", reason) from None
    return listener
