"""What one hostile, slow or odd client gets, over raw sockets."""

from __future__ import annotations

import http.client
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import ClassVar

import pytest

from bon_common.http.settings import HttpServerSettings
from tests.bon_common.http.app import App, ask, connect, read_all, served, statuses
from tests.waiting import wait_until

HOST = b"Host: x\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class Impatient(HttpServerSettings):
    idle_timeout_s: ClassVar[float] = 2.0


LIMITS = Impatient(head_timeout_s=1.0, body_timeout_s=1.0, write_timeout_s=1.0)
JAVA = (
    b"POST /a HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 5\r\n"
    b"Host: x\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
    b"Upgrade: h2c\r\nUser-Agent: Java-http-client/17.0.1\r\n\r\n"
)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[App, int]]:
    with served(LIMITS) as running:
        yield running


@pytest.fixture
def port(server: tuple[App, int]) -> int:
    server[0].seen.clear()
    server[0].cut.clear()
    return server[1]


@pytest.fixture
def app(server: tuple[App, int]) -> App:
    return server[0]


def error_of(answer: bytes) -> dict[str, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head
    assert b"x-request-id: req-" in head
    assert b"connection: close" in head
    error: dict[str, str] = json.loads(body)["error"]
    return error


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"a: " + b"b" * 70_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"a" * 70_000,
        b"GET / HTTP/1.1\r\n" + HOST + b"a: b\r\n" * 15_000 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"a: b\r\n" * 300 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"x-request-id: " + b"a" * 8193 + b"\r\n\r\n",
        b"\r\n" * 40_000,
        b"POST / HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n0\r\na: "
        + b"b" * 200_000,
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"b" * 200_000,
    ],
    ids=["target", "value", "name", "bytes", "count", "id", "blank lines", "trailer", "extension"],
)
def test_a_head_beyond_its_limits_is_431(port: int, request_bytes: bytes, app: App) -> None:
    answer = ask(port, request_bytes)
    assert statuses(answer) == [431]
    assert error_of(answer)["code"] == "request_header_fields_too_large"
    assert app.seen == []


def test_the_limit_leaves_room_for_what_is_just_below(port: int) -> None:
    head = b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\na: " + b"b" * 65_000
    assert statuses(ask(port, head, b"\r\n\r\n")) == [200]


@pytest.mark.parametrize("kind", ["one line", "many lines"])
def test_others_are_answered_while_a_client_sends_120_megabytes_of_head(
    port: int, kind: str
) -> None:
    piece = b"b" * 1_000_000 if kind == "one line" else b"a: b\r\n" * 170_000
    slowest = 0.0
    with connect(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\na: ")
        for _ in range(120):
            try:
                client.sendall(piece)
            except OSError:
                break
            began = time.monotonic()
            assert statuses(ask(port, LAST)) == [200]
            slowest = max(slowest, time.monotonic() - began)
    assert slowest < 1.0  # some milliseconds, on a machine that does nothing else


@pytest.mark.parametrize("hosts", [b"", b"Host: a\r\nHost: b\r\n", b"Host: a\r\nhost: a\r\n"])
def test_a_request_has_one_host(port: int, hosts: bytes) -> None:
    answer = ask(port, b"GET / HTTP/1.1\r\n" + hosts + b"\r\n")
    assert statuses(answer) == [400]
    assert error_of(answer)["code"] == "invalid_host"


def test_http_1_0_needs_no_host(port: int) -> None:
    assert statuses(ask(port, b"GET / HTTP/1.0\r\n\r\n")) == [200]


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_http_1_0_gets_no_chunks(port: int, method: bytes) -> None:
    head, _, body = ask(port, method + b" /pieces HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert body == (b"onetwo" if method == b"GET" else b"")
    answer = ask(port, b"GET /pieces HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


POST = b"POST /a HTTP/1.1\r\n" + HOST
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: +5\r\n\r\nhello",
        POST + b"Content-Length: 5, 5\r\n\r\nhello",
        POST + b"Content-Length: 0x5\r\n\r\nhello",
        POST + b"Content-Length: 99999999999999999999\r\n\r\nhello",
        POST + b"Content-Length : 5\r\n\r\nhello",
        POST + b"Content-Length: 5\r\n a: b\r\n\r\nhello",
        POST + b"a: b\r\n c\r\n\r\n",
        POST + b"a: b\rc: d\r\n\r\n",
        POST + b"a: b\nContent-Length: 5\n\n",
        POST + b"Transfer-Encoding: identity\r\n\r\n",
        POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        POST + b"Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_what_two_servers_could_read_differently_is_refused_once(
    port: int, app: App, request_bytes: bytes
) -> None:
    answer = ask(port, request_bytes + SMUGGLED)
    assert statuses(answer) == [400]
    assert error_of(answer)["type"] == "invalid_request_error"
    assert app.seen == []


@pytest.mark.parametrize("split", [0, 1, 60, len(JAVA) - 1, len(JAVA), len(JAVA) + 2])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_upgrade_is_ignored_and_the_body_read_by_its_length(
    port: int, app: App, split: int, chunked: bool
) -> None:
    message = JAVA + b"hello"
    if chunked:
        message = JAVA.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked")
        message += b"5\r\nhello\r\n0\r\n\r\n"
    answers = ask(port, message[:split], message[split:] + JAVA + b"GET /" + LAST)
    assert statuses(answers) == [200, 200, 200]
    assert app.seen == [("/a", 5), ("/a", 5), ("/last", 0)]


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c", b"TLS/1.3"])
def test_an_upgrade_without_a_body_is_one_request(port: int, app: App, protocol: bytes) -> None:
    head = b"GET /up HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: " + protocol
    assert statuses(ask(port, head + b"\r\n\r\n" + LAST)) == [200, 200]
    assert app.seen == [("/up", 0), ("/last", 0)]


def test_trailers_are_no_headers(port: int, app: App) -> None:
    body = b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nHost: y\r\nx: y\r\n\r\n"
    assert statuses(ask(port, POST + body + LAST)) == [200, 200]
    assert app.seen == [("/a", 2), ("/last", 0)]


def test_a_refusal_waits_for_the_answers_before_it(port: int) -> None:
    slow = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
    assert statuses(ask(port, slow + slow + b"nonsense\r\n\r\n")) == [200, 200, 400]


@pytest.mark.parametrize("size", [2_000_000, 17_000_000])
def test_a_client_that_still_writes_sees_that_its_body_is_too_large(port: int, size: int) -> None:
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/", data=b"x" * size)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(asked, timeout=20)
    with caught.value as answered:
        assert answered.code == 413
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    chunks = (b"x" * 100_000 for _ in range(size // 100_000))
    connection.request(
        "POST", "/", body=chunks, encode_chunked=True, headers={"Transfer-Encoding": "chunked"}
    )
    answer = connection.getresponse()
    assert (answer.status, answer.headers["connection"]) == (413, "close")
    answer.close()
    connection.close()


def test_expect_is_refused_before_the_body(port: int) -> None:
    head = POST + b"Content-Length: 5000000\r\nExpect: 100-continue\r\n\r\n"
    answer = ask(port, head, end=True)
    assert statuses(answer) == [413]
    assert b"connection: close" in answer


def test_expect_is_answered_where_the_body_is_wanted(port: int) -> None:
    with connect(port) as client:
        client.sendall(POST + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert statuses(client.recv(1000)) == [100]
        client.sendall(b"hello")
        assert statuses(client.recv(1000)) == [200]


@pytest.mark.parametrize("path", [b"/a", b"/slow"])
def test_a_half_closed_client_gets_its_answer(port: int, path: bytes) -> None:
    answer = ask(port, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n", end=True)
    assert statuses(answer) == [200]


def test_a_client_that_left_at_once_is_waited_for_only_briefly(port: int, app: App) -> None:
    with connect(port) as client:
        client.sendall(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
    wait_until(lambda: "/hang" in app.cut)


@pytest.mark.parametrize("path", ["/called", "/called-late"])
def test_a_call_can_be_had_when_the_client_leaves(port: int, app: App, path: str) -> None:
    with connect(port) as client:
        client.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: (path, 0) in app.seen)
        assert app.cut == []
    wait_until(lambda: app.cut == [path])


def test_a_call_can_be_had_behind_a_body_that_came_faster_than_it_was_read(
    port: int, app: App
) -> None:
    with connect(port) as client:
        client.sendall(b"POST /called HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        time.sleep(0.05)  # so that what follows is read at once
        client.sendall(b"x" * 100_000)
        wait_until(lambda: ("/called", 100_000) in app.seen)
        assert app.cut == []
    wait_until(lambda: app.cut == ["/called"])


def test_a_call_can_be_had_when_the_request_before_it_is_done(port: int, app: App) -> None:
    with connect(port) as client:
        for path in (b"/a", b"/called"):
            client.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: ("/called", 0) in app.seen)
        assert statuses(client.recv(1000)) == [200]
        assert app.cut == []
    wait_until(lambda: app.cut == ["/called"])


@pytest.mark.parametrize(("query", "called"), [(b"both", []), (b"first", ["/second"])])
def test_who_took_the_call_back_is_not_called(
    port: int, app: App, query: bytes, called: list[str]
) -> None:
    with connect(port) as client:
        client.sendall(b"GET /not-called?" + query + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: ("/not-called", 0) in app.seen)
    wait_until(lambda: app.cut == [*called, "/hang"])


def test_a_client_that_leaves_later_has_left(port: int, app: App) -> None:
    with connect(port) as client:
        client.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(100)
        time.sleep(0.1)  # beyond HALF_CLOSE_S: what follows is leaving
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: "/stream" in app.cut)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (b"", []),
        (b"GET /", [408]),
        (POST + b"Content-Length: 5\r\n\r\nhe", [408]),
        (POST + b"Content-Length: 5\r\n\r\nhello", [200]),
    ],
    ids=["silent", "head", "body", "idle"],
)
def test_a_silent_client_is_not_waited_for(port: int, parts: bytes, expected: list[int]) -> None:
    began = time.monotonic()
    assert statuses(ask(port, parts)) == expected
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\n", POST + b"Content-Length: 99\r\n\r\n"])
def test_a_client_that_trickles_is_not_waited_for(port: int, head: bytes) -> None:
    with connect(port) as client:
        client.settimeout(0.2)
        client.sendall(head)
        answer = b""
        for _ in range(60):
            try:
                client.sendall(b"a")
                answer += client.recv(1000)
            except TimeoutError:
                continue
            except OSError:
                break
            if answer:
                break
    assert statuses(answer) == [408]


def test_a_client_that_does_not_read_is_cut(port: int, app: App) -> None:
    with connect(port) as client:
        client.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: "/stream" in app.cut)
        read_all(client)


def test_beyond_the_connections_idle_ones_are_closed_and_then_new_ones_told() -> None:
    with served(HttpServerSettings(max_connections=8)) as (_, port):
        silent = [connect(port) for _ in range(40)]
        assert statuses(ask(port, LAST)) == [200]
        busy = [connect(port) for _ in range(8)]
        for client in busy:
            client.sendall(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(10)
        answer = ask(port, LAST)
        assert statuses(answer) == [503]
        assert b"retry-after: 1" in answer
        for client in [*silent, *busy]:
            client.close()
        wait_until(lambda: statuses(ask(port, LAST)) == [200])
