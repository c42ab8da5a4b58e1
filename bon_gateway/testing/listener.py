"""A loopback server that leaves nothing open when it stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
TURNS = 4
"""Turns of the event loop that an accepted connection takes to become one of the server's; asyncio
takes two."""


class Listener:
    """One HTTP server on one port. A handler is cancelled when its client leaves."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._http: web.Server | None = None
        self._listening: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return 0 if self._http is None else len(self._http.connections)

    async def start(self, host: str, port: int) -> int:
        """Listens and gives the port, a free one where `port` is 0.

        Raises:
            OSError: The port is taken.
        """
        self._http = web.Server(self._handler, handler_cancellation=True, access_log=None)
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._http, host, port, backlog=4096)
        taken: int = self._listening.sockets[0].getsockname()[1]
        return taken

    async def stop(self) -> None:
        """Closes the port and every connection. Does nothing where it does not listen."""
        listening, http, self._listening = self._listening, self._http, None
        if listening is None or http is None:
            return
        # A connection that is still being accepted while the port closes would be closed by nobody:
        # no more are accepted first, and those on their way arrive.
        loop = asyncio.get_running_loop()
        for socket in listening.sockets:
            loop.remove_reader(socket.fileno())
        for _ in range(TURNS):
            await asyncio.sleep(0)
        listening.close()
        http.pre_shutdown()
        await http.shutdown(0)
        await asyncio.sleep(0)  # a transport closes its socket in the turn after
