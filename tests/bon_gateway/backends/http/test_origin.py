"""Which connections are kept and which are not, and what is wrong when none can be made."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import ssl
from contextlib import suppress
from pathlib import Path

import pytest
from yarl import URL

from bon_gateway.backends.http.connection import ConnectError, Connection
from bon_gateway.backends.http.names import Address, only
from bon_gateway.backends.http.origin import Origin
from tests.bon_gateway.backends.servers import raw_server, read_request

HERE = only(Address(socket.AF_INET, "127.0.0.1"))
HEAD = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
TLS = Path(__file__).parent / "tls"


async def always(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await read_request(reader)
        writer.write(ANSWER)


async def call(origin: Origin) -> Connection:
    connection = await origin.take()
    try:
        connection.send(HEAD, b"", 5.0)
        await connection.ended()
        assert connection.answer == (200, b"ok")
    finally:
        origin.give_back(connection)
    return connection


def plain(url: URL, timeout_s: float = 5.0) -> Origin:
    return Origin(url, None, timeout_s)


async def test_one_connection_serves_call_after_call() -> None:
    async with raw_server(always) as url:
        origin = plain(url)
        assert len({await call(origin) for _ in range(5)}) == 1
        await origin.close()


async def test_calls_at_once_have_connections_of_their_own() -> None:
    async with raw_server(always) as url:
        origin = plain(url)
        taken = [await origin.take() for _ in range(3)]
        assert len(set(taken)) == 3
        for connection in taken:
            origin.give_back(connection)
            assert connection.lost or not connection.reusable  # it never carried an answer
        await origin.close()


async def test_a_connection_that_was_idle_for_long_is_let_go() -> None:
    async with raw_server(always) as url:
        origin = Origin(url, None, 5.0, keepalive_s=0.05)
        first = await call(origin)
        await asyncio.sleep(0.1)
        assert await call(origin) is not first
        assert first.lost
        await origin.close()


async def test_idle_connections_are_let_go_without_another_call() -> None:
    async with raw_server(always) as url:
        origin = Origin(url, None, 5.0, keepalive_s=0.1)
        first, second = await origin.take(), await origin.take()
        for connection in (first, second):
            connection.send(HEAD, b"", 5.0)
            await connection.ended()
        origin.give_back(first)
        await asyncio.sleep(0.06)
        origin.give_back(second)
        async with asyncio.timeout(5):
            while not first.lost:
                await asyncio.sleep(0.005)
            assert not second.lost
            while not second.lost:
                await asyncio.sleep(0.005)
        await origin.close()


async def test_a_connection_that_the_upstream_closed_is_not_used_again() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(ANSWER)

    async with raw_server(once) as url:
        origin = plain(url)
        first = await call(origin)
        async with asyncio.timeout(5):
            while not first.lost:
                await asyncio.sleep(0.005)
        assert await call(origin) is not first
        await origin.close()


async def test_closing_ends_calls_that_still_run() -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw_server(never) as url:
        origin = plain(url)
        waiting = asyncio.create_task(call(origin))
        await asyncio.sleep(0.05)
        await origin.close()
        with pytest.raises(Exception, match="closed"):
            await waiting


async def test_a_cancelled_call_closes_its_connection() -> None:
    """The upstream learns that nobody waits: so vLLM stops generating."""
    left = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        with suppress(ConnectionError):
            await reader.read()
        left.set()

    async with raw_server(slow) as url:
        origin = plain(url)
        waiting = asyncio.create_task(call(origin))
        await asyncio.sleep(0.05)
        waiting.cancel()
        async with asyncio.timeout(5):
            await left.wait()
        await origin.close()


async def test_a_port_that_nobody_listens_on_refuses() -> None:
    async with raw_server(always) as url:
        origin = plain(url)
        await call(origin)
        await origin.close()
    with pytest.raises(ConnectError) as raised:
        await plain(url).take()
    assert raised.value.refused


async def test_a_name_that_means_nothing_is_no_refusal() -> None:
    """The replica may be there: it is the name service that is not."""
    with pytest.raises(ConnectError) as raised:
        await plain(URL("http://nowhere.invalid:1/")).take()
    assert not raised.value.refused


@pytest.mark.parametrize(
    ("failures", "refused"),
    [
        ((errno.ECONNREFUSED,), True),
        ((errno.ECONNREFUSED, errno.ECONNREFUSED), True),
        ((errno.ECONNREFUSED, errno.EHOSTUNREACH), False),
        ((errno.EMFILE,), False),
    ],
)
async def test_only_refused_by_every_address_is_a_refusal(
    failures: tuple[int, ...], refused: bool
) -> None:
    async def found(host: str, port: int) -> list[Address]:
        return [Address(socket.AF_INET, str(number)) for number in failures]

    class Failing(Origin):
        async def _connect_to(self, address: Address) -> Connection:
            raise OSError(int(address.host), "failed")

    with pytest.raises(ConnectError) as raised:
        await Failing(URL("http://h:1/"), None, 1.0, look_up=found).take()
    assert raised.value.refused is refused


async def test_a_connection_that_takes_too_long_is_given_up() -> None:
    class Hanging(Origin):
        async def _connect_to(self, address: Address) -> Connection:
            await asyncio.Event().wait()
            raise AssertionError

    with pytest.raises(ConnectError, match="too long") as raised:
        await Hanging(URL("http://127.0.0.1:1/"), None, 0.05).take()
    assert not raised.value.refused


def server_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
    return context


async def test_https_with_a_certificate_that_is_trusted() -> None:
    trusting = ssl.create_default_context(cafile=str(TLS / "certificate.pem"))
    async with raw_server(always, server_tls()) as url:
        origin = Origin(url, trusting, 5.0)
        assert len({await call(origin) for _ in range(3)}) == 1
        await origin.close()


@pytest.mark.parametrize("trusted", [False, True])
async def test_https_with_a_certificate_of_somebody_else(trusted: bool) -> None:
    """Not trusted at all, or trusted for another name."""
    context = ssl.create_default_context(cafile=str(TLS / "certificate.pem") if trusted else None)
    async with raw_server(always, server_tls()) as url:
        origin = Origin(
            url.with_host("other.example") if trusted else url, context, 5.0, look_up=HERE
        )
        with pytest.raises(ConnectError, match="SSLCertVerificationError") as raised:
            await origin.take()
        assert not raised.value.refused
        await origin.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EADDRNOTAVAIL])
async def test_what_this_process_lacks_is_nobodys_fault(number: int) -> None:
    class Failing(Origin):
        async def _connect_to(self, address: Address) -> Connection:
            raise OSError(number, "failed")

    with pytest.raises(ConnectError) as raised:
        await Failing(URL("http://127.0.0.1:1/"), None, 1.0).take()
    assert raised.value.ours
    assert not raised.value.refused


async def test_a_name_that_cannot_be_looked_up_for_want_of_descriptors_is_nobodys_fault() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    loop = asyncio.get_running_loop()
    # The resolver's thread must exist already.
    await loop.run_in_executor(None, lambda: None)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        with pytest.raises(ConnectError) as raised:
            await plain(URL("http://nowhere.invalid:1/")).take()
        with pytest.raises(ConnectError) as numeric:
            await plain(URL("http://127.0.0.1:1/")).take()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert raised.value.ours
    assert numeric.value.ours
