"""The connections to one upstream address: made when needed, kept while they are fresh."""

from __future__ import annotations

import asyncio
import errno
import ssl
import time
from functools import partial

from yarl import URL

from bon_gateway.backends.http.connection import MAX_BODY_BYTES, ConnectError, Connection
from bon_gateway.backends.http.names import Address, LookUp, look_up

# uvicorn, and so vLLM and the reward server, closes an idle connection after 5 s. Letting go of
# it earlier keeps a request from being written to a connection that is just being closed.
KEEPALIVE_S = 4.0

# No descriptor, no memory, no local port: about this process and not about the upstream.
_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})


class Origin:
    """Scheme, host and port, with as many connections as there are calls at once."""

    def __init__(
        self,
        url: URL,
        tls: ssl.SSLContext | None,
        connect_timeout_s: float,
        keepalive_s: float = KEEPALIVE_S,
        look_up: LookUp = look_up,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        """``tls`` is for https only. ``look_up`` finds the host's addresses; the request and TLS
        still name the host itself."""
        assert url.raw_host is not None, "the settings want a host"
        assert url.port is not None, "http and https have a port of their own"
        self._host = url.raw_host
        self._port = url.port
        self._tls = tls if url.scheme == "https" else None
        self._timeout_s = connect_timeout_s
        self._keepalive_s = keepalive_s
        self._look_up = look_up
        self._max_body_bytes = max_body_bytes
        self._idle: dict[Connection, float] = {}
        """Idle connections and since when, the longest idle first."""
        self._open: set[Connection] = set()
        self._empty = asyncio.Event()
        self._sweep: asyncio.TimerHandle | None = None
        """Closes connections that no call has used for too long."""

    async def take(self) -> Connection:
        """A connection for one call, to be given back. Raises ConnectError."""
        self._let_go(time.monotonic())
        if self._idle:
            # The one used last is the most likely to be alive.
            connection, _ = self._idle.popitem()
            return connection
        return await self._connect()

    async def take_new(self) -> Connection:
        """A new connection, after a kept one turned out to be dead. The other idle ones are older,
        so they are closed too. Raises ConnectError."""
        for connection in tuple(self._idle):
            del self._idle[connection]
            connection.abort()
        return await self._connect()

    def give_back(self, connection: Connection) -> None:
        """Keep it for the next call, or close it if its answer has not ended."""
        if not connection.reusable:
            connection.abort()
            return
        self._idle[connection] = time.monotonic()
        if self._sweep is None:
            self._sweep_in(self._keepalive_s)

    async def close(self) -> None:
        """Close every connection, calls that still run included."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in self._open:
            connection.abort()
        while self._open:
            self._empty.clear()
            await self._empty.wait()

    def _tidy(self) -> None:
        now = time.monotonic()
        self._let_go(now)
        self._sweep = None
        if self._idle:
            oldest = next(iter(self._idle.values()))
            self._sweep_in(oldest + self._keepalive_s - now)

    def _sweep_in(self, seconds: float) -> None:
        self._sweep = asyncio.get_running_loop().call_later(seconds, self._tidy)

    def _let_go(self, now: float) -> None:
        """Close what has been idle for too long."""
        while self._idle:
            connection = next(iter(self._idle))
            if now - self._idle[connection] < self._keepalive_s:
                return
            del self._idle[connection]
            connection.abort()

    def _lost(self, connection: Connection) -> None:
        self._idle.pop(connection, None)
        self._open.discard(connection)
        if not self._open:
            self._empty.set()

    async def _connect(self) -> Connection:
        refusals: list[OSError] = []
        try:
            async with asyncio.timeout(self._timeout_s):
                for address in await self._look_up(self._host, self._port):
                    try:
                        return await self._connect_to(address)
                    except OSError as error:
                        refusals.append(error)
        except TimeoutError:
            raise ConnectError("it took too long") from None
        except OSError as error:
            raise _failure([error]) from error
        if not refusals:
            raise ConnectError("its host has no address")
        raise _failure(refusals) from refusals[-1]

    async def _connect_to(self, address: Address) -> Connection:
        """Raises OSError, also for a certificate that is not accepted."""
        _, connection = await asyncio.get_running_loop().create_connection(
            partial(Connection, self._lost, self._max_body_bytes),
            address.host,
            self._port,
            family=address.family,
            ssl=self._tls,
            server_hostname=self._host if self._tls is not None else None,
        )
        self._open.add(connection)
        if connection.lost:
            self._lost(connection)
        return connection


def _failure(errors: list[OSError]) -> ConnectError:
    for error in errors:
        if error.errno in _OURS:
            name = errno.errorcode[error.errno]
            return ConnectError(f"this process has run out: {name}", ours=True)
    refused = all(error.errno == errno.ECONNREFUSED for error in errors)
    return ConnectError(type(errors[-1]).__name__, refused=refused)
