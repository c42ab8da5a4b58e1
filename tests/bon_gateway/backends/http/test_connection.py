"""One connection against servers that answer in every way that HTTP allows, and in some that it
does not. What the failures mean to a backend is tested in ``test_http`` and with the backends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from yarl import URL

from bon_gateway.backends.http.connection import (
    HIGH_WATER_BYTES,
    BrokenAnswerError,
    Connection,
    HungUpError,
    UnusableAnswerError,
)
from tests.bon_gateway.backends.servers import Handler, raw_server, read_request

HEAD = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def connected(handle: Handler) -> AsyncIterator[Connection]:
    lost = asyncio.Event()
    async with raw_server(handle) as url:
        port = URL(url).port
        assert port is not None
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Connection(lambda _: lost.set()), "127.0.0.1", port
        )
        yield connection
        connection.abort()
        await lost.wait()


def answers(*answers: bytes | Sequence[bytes], close: bool = False) -> Handler:
    """Answers requests in turn; a sequence of bytes arrives piece by piece."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await read_request(reader)
            for piece in [answer] if isinstance(answer, bytes) else answer:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.002)
        if not close:
            await reader.read()

    return handle


async def whole(connection: Connection, within: float = 5.0) -> tuple[int, bytes]:
    connection.send(HEAD, b"", within)
    await connection.ended()
    return connection.answer


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (PLAIN, 200, b"ok"),
        ([PLAIN[i : i + 1] for i in range(len(PLAIN))], 200, b"ok"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone", 404, b"gone"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200, b""),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
            200,
            b"ok",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN, 200, b"ok"),
        (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + PLAIN, 200, b"ok"),
    ],
)
async def test_a_whole_answer_leaves_the_connection_for_another(
    answer: bytes | Sequence[bytes], status: int, body: bytes
) -> None:
    async with connected(answers(answer, PLAIN)) as connection:
        assert await whole(connection) == (status, body)
        assert connection.reusable
        assert await whole(connection) == (200, b"ok")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nok",
    ],
)
async def test_a_body_without_a_length_ends_with_the_connection(answer: bytes) -> None:
    async with connected(answers(answer, close=True)) as connection:
        assert await whole(connection) == (200, b"ok")
        assert not connection.reusable


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ],
)
async def test_a_connection_that_the_upstream_will_close_is_not_used_again(answer: bytes) -> None:
    async with connected(answers(answer)) as connection:
        assert await whole(connection) == (200, b"ok")
        assert not connection.reusable


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200"])
async def test_a_connection_closed_without_an_answer_is_a_hang_up(answer: bytes) -> None:
    async with connected(answers(answer, close=True)) as connection:
        with pytest.raises(HungUpError):
            await whole(connection)
        assert not connection.reusable


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\ncut",
    ],
)
async def test_a_body_that_is_cut_off_is_broken(answer: bytes) -> None:
    async with connected(answers(answer, close=True)) as connection:
        with pytest.raises(BrokenAnswerError):
            await whole(connection)


@pytest.mark.parametrize(
    "answer",
    [
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nhello",
    ],
)
async def test_what_is_no_http_is_broken(answer: bytes) -> None:
    async with connected(answers(answer)) as connection:
        with pytest.raises(BrokenAnswerError):
            await whole(connection)
        assert not connection.reusable


async def test_two_answers_to_one_request_leave_no_connection() -> None:
    """Else the second would be taken for the answer to the next request."""
    async with connected(answers([PLAIN, PLAIN])) as connection:
        assert await whole(connection) == (200, b"ok")
        async with asyncio.timeout(5):
            while not connection.lost:
                await asyncio.sleep(0.005)


async def test_an_answer_that_takes_too_long_is_a_timeout() -> None:
    async with connected(answers([PLAIN[:-1]])) as connection:
        with pytest.raises(TimeoutError):
            await whole(connection, within=0.05)
        assert not connection.reusable


async def test_an_answer_in_time_is_not_troubled_by_its_timer_later() -> None:
    async with connected(answers(PLAIN, [b"", b"", PLAIN])) as connection:
        await whole(connection, within=0.5)
        await asyncio.sleep(0.6)
        assert connection.reusable
        assert await whole(connection) == (200, b"ok")


async def test_each_exchange_has_its_own_time() -> None:
    """A shorter one than before, and a longer one."""
    async with connected(answers(PLAIN, PLAIN, b"HTTP/1.1 200 OK\r\n")) as connection:
        assert await whole(connection, 0.05) == (200, b"ok")
        assert await whole(connection, 30) == (200, b"ok")
        await asyncio.sleep(0.1)
        started = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            await whole(connection, 0.2)
        assert 0.15 < asyncio.get_running_loop().time() - started < 20


async def test_blocks_come_as_they_arrive() -> None:
    more = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nx-a: b\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await more.wait()
        writer.write(b"3\r\ntwo\r\n0\r\n\r\n")
        await reader.read()

    async with connected(handle) as connection:
        connection.send(HEAD, b"", 5.0)
        assert await connection.status() == 200
        assert (connection.header(b"x-a"), connection.header(b"x-b")) == ("b", None)
        assert await connection.block() == b"one"
        assert not connection.reusable
        more.set()
        assert await connection.block() == b"two"
        assert await connection.block() == b""
        assert connection.reusable


async def test_what_nobody_takes_holds_the_upstream_up() -> None:
    """A slow client must not make the gateway collect a stream in memory."""
    size = 64 * HIGH_WATER_BYTES
    sent = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(64):
            writer.write(bytes(HIGH_WATER_BYTES))
            await writer.drain()
            sent += HIGH_WATER_BYTES
        await reader.read()

    async with connected(handle) as connection:
        connection.send(HEAD, b"", 30.0)
        assert await connection.status() == 200
        before = -1
        async with asyncio.timeout(20):
            while sent != before:
                before = sent
                await asyncio.sleep(0.2)
        assert sent < size
        received = 0
        while block := await connection.block():
            received += len(block)
        assert received == size
        assert connection.reusable


async def test_a_stream_that_was_left_while_it_was_held_up_is_not_followed_by_another() -> None:
    """All of it has arrived, but the connection has stopped reading."""
    size = HIGH_WATER_BYTES + 1

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size))
        await reader.read()

    async with connected(handle) as connection:
        connection.send(HEAD, b"", 5.0)
        assert await connection.status() == 200
        async with asyncio.timeout(5):
            while connection._busy:
                await asyncio.sleep(0.005)
        assert connection._paused
        assert not connection.reusable
        await connection.block()
        assert connection.reusable


@pytest.mark.parametrize(
    "second", [PLAIN, b"HTTP/1.1 200 OK\r\nx-evil: 1\r\n\r\nevil", b"HT", b"x"]
)
@pytest.mark.parametrize("pieces", [1, 2])
async def test_bytes_behind_an_answer_are_no_part_of_it(second: bytes, pieces: int) -> None:
    """In the same read or in the next: this answer is whole, and the connection is closed."""
    answer = [PLAIN + second] if pieces == 1 else [PLAIN, second]
    async with connected(answers(answer)) as connection:
        assert await whole(connection) == (200, b"ok")
        assert connection.header(b"x-evil") is None
        async with asyncio.timeout(5):
            while connection.reusable:
                await asyncio.sleep(0.005)


async def test_our_own_close_holds_even_if_the_answer_does_not_repeat_it() -> None:
    async with connected(answers(PLAIN, PLAIN)) as connection:
        connection.send(HEAD, b"", 5.0, last=True)
        await connection.ended()
        assert connection.answer == (200, b"ok")
        assert not connection.reusable


@pytest.mark.parametrize(("status", "kept"), [(400, True), (499, True), (500, False), (503, False)])
async def test_a_connection_is_not_used_again_after_a_server_error(status: int, kept: bool) -> None:
    answer = b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % status
    async with connected(answers(answer)) as connection:
        await whole(connection)
        assert connection.reusable is kept


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 40_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"x" * 200_000,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: " + b"x" * 200_000,
    ],
    ids=["header", "headers", "extension", "trailer"],
)
async def test_a_head_without_end_is_not_read_to_its_end(answer: bytes) -> None:
    async with connected(answers([answer[:100], answer[100:]])) as connection:
        with pytest.raises(UnusableAnswerError, match="head is larger than 65536"):
            await whole(connection)
        assert not connection.reusable


async def test_a_body_is_bounded() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"
    async with connected(answers(head % 100 + b"x" * 100, head % 101 + b"x" * 101)) as connection:
        connection._max_body_bytes = 100
        assert await whole(connection) == (200, b"x" * 100)
        with pytest.raises(UnusableAnswerError, match="body is larger than 100"):
            await whole(connection)


@pytest.mark.parametrize("coding", [b"gzip", b"br, gzip", b"Zstd"])
async def test_a_compressed_answer_is_named_as_such(coding: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\ncontent-length: 2\r\n\r\nok" % coding
    async with connected(answers(answer)) as connection:
        with pytest.raises(UnusableAnswerError, match=f"compressed .{coding.decode()}"):
            await whole(connection)


@pytest.mark.parametrize(
    ("served", "answer", "stale"), [(1, b"", True), (0, b"", False), (1, b"H", False)]
)
async def test_only_a_kept_connection_that_says_nothing_is_stale(
    served: int, answer: bytes, stale: bool
) -> None:
    async with connected(answers(*[PLAIN] * served, answer, close=True)) as connection:
        for _ in range(served):
            await whole(connection)
        with pytest.raises(HungUpError) as raised:
            await whole(connection)
        assert raised.value.stale is stale
