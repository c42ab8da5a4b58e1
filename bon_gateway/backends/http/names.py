"""Looks host names up. All connections are made through it, and discovery follows names with it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

# The resolver has answered: the name is not known, or has no address.
_NONE = (socket.EAI_NONAME, socket.EAI_NODATA)


class Address(NamedTuple):
    family: int
    host: str
    """Numeric."""


LookUp = Callable[[str, int], Awaitable[Sequence[Address]]]
"""The addresses of a host for a port, in the order in which to try them; empty if it has none.
Raises OSError if the look-up itself fails."""


async def look_up(host: str, port: int) -> list[Address]:
    """Asks the system's resolver, in a thread."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        # Without a file descriptor the resolver cannot ask anybody. It then says that there is no
        # such name, or something else that is wrong. Opening a socket raises the true reason.
        socket.socket().close()
        if isinstance(error, socket.gaierror) and error.errno in _NONE:
            return []
        raise
    except UnicodeError as error:
        raise OSError(f"{host!r} is not a host name") from error
    return [Address(family, str(place[0])) for family, _, _, _, place in found]


def only(address: Address) -> LookUp:
    """A look-up that always returns ``address``. The host name still goes into the request."""

    async def look_up_nothing(_host: str, _port: int) -> list[Address]:
        return [address]

    return look_up_nothing
