"""Where a host name leads. Everything here that connects, and what follows a name, asks it so."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

# To the resolver these are answers: the name is not known, or has no address.
_NONE = (socket.EAI_NONAME, socket.EAI_NODATA)


class Address(NamedTuple):
    family: int
    host: str
    """Numeric."""


LookUp = Callable[[str, int], Awaitable[Sequence[Address]]]
"""The addresses of a host, for a port, in the order in which to try them: none if there are none.
Raises OSError if that cannot be told now."""


async def look_up(host: str, port: int) -> list[Address]:
    """Asks the system's resolver, in a thread."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        # Without a descriptor the resolver cannot ask anybody. It then says that there is no such
        # name, or gives the error number of something else. This raises the true reason.
        socket.socket().close()
        if isinstance(error, socket.gaierror) and error.errno in _NONE:
            return []
        raise
    except UnicodeError as error:
        raise OSError(f"{host!r} is no host name") from error
    return [Address(family, str(place[0])) for family, _, _, _, place in found]


def only(address: Address) -> LookUp:
    """Leads there whatever the name: the name is only what the connection is asked for by."""

    async def look_up_nothing(_host: str, _port: int) -> list[Address]:
        return [address]

    return look_up_nothing
