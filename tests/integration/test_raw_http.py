"""What hostile, slow and odd clients do to the real servers: nothing.

``tests/bon_common/http/test_protocol.py`` has each limit by itself. Here they hold in the gateway's
and the reward server's own processes, with 128 descriptors, while others are answered.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.bon_common.http.app import ask, connect, read_all, statuses
from tests.growing_logs import entries
from tests.integration.processes import Processes
from tests.integration.proxied import SECRET, chat_bytes, head
from tests.integration.raw_servers import (
    DESCRIPTORS,
    LIMIT_S,
    LIVEZ,
    SERVERS,
    Server,
    check_log,
    watching,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)  # a reward server boots, which takes torch its time
SILENT = 160
HOST = b"Host: x\r\n"


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, passing: Processes) -> Iterator[Server]:
    with SERVERS[request.param](passing) as server:
        yield server


@pytest.fixture(autouse=True)
def as_before(server: Server) -> Iterator[None]:
    """Others are answered while a test does its worst; afterwards all is as it was."""
    with watching(server.port):
        yield
    server.check()
    check_log(server)


def test_silent_connections_take_nobody_down(server: Server) -> None:
    """More of them than there are descriptors, for longer than a head may take."""
    with contextlib.ExitStack() as silent:
        for number in range(SILENT):
            silent.enter_context(connect(server.port))
            if number % 20 == 0:
                server.check()
        began = time.monotonic()
        while time.monotonic() - began < 1.5 * LIMIT_S:
            server.check()
            assert server.descriptors <= DESCRIPTORS
    wait_until(lambda: server.descriptors < DESCRIPTORS // 2)


@pytest.mark.parametrize("clients", [40, 160])
def test_heads_that_come_byte_by_byte(server: Server, clients: int) -> None:
    """Each is cut with 408 or, where others need its place, without a word."""
    message = b"GET /livez HTTP/1.1\r\nX-Secret: " + SECRET.encode() * 40
    with contextlib.ExitStack() as closing:
        slow = [closing.enter_context(connect(server.port)) for _ in range(clients)]
        for client in slow:
            client.setblocking(False)
        said = dict.fromkeys(slow, b"")
        began = time.monotonic()
        for at in range(len(message)):
            for client in tuple(said):
                with contextlib.suppress(BlockingIOError):
                    try:
                        client.send(message[at : at + 1])
                        said[client] += client.recv(65536)
                    except ConnectionError:
                        said.pop(client)
            time.sleep(0.05)
            if time.monotonic() - began > 2 * LIMIT_S:
                break
        else:
            pytest.fail("the machine was too slow for this to show anything")
        assert all(set(statuses(answer)) <= {408} for answer in said.values())
        if clients == 40:
            assert [statuses(answer) for answer in said.values()].count([408]) >= clients // 2


def test_bodies_that_never_come(server: Server) -> None:
    """They hold their places for as long as a body may pause, and no longer."""
    with contextlib.ExitStack() as closing:
        slow = [closing.enter_context(connect(server.port)) for _ in range(20)]
        for client in slow:
            client.sendall(head("Content-Length: 100000", path=server.path) + SECRET.encode())
        began = time.monotonic()
        answers = [read_all(client) for client in slow]
        assert LIMIT_S / 2 < time.monotonic() - began < 10 * LIMIT_S
    assert [statuses(answer) for answer in answers] == [[408]] * len(slow)


def test_answers_that_nobody_reads(server: Server) -> None:
    """Their clients are cut, so that what was held for them is free again."""
    if server.name != "gateway":
        pytest.skip("no answer of the reward server is larger than the buffers between")
    text = " ".join(["w" * 100_000] * 60)
    with contextlib.ExitStack() as closing:
        for number in range(4):
            client = closing.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(20)
            client.connect(("127.0.0.1", server.port))
            client.sendall(chat_bytes(text, f"unread-{number}"))
        output = server.process
        unread = {f"unread-{number}" for number in range(4)}

        def told() -> list[dict[str, Any]]:
            return [line for line in entries(output.output) if line.get("request_id") in unread]

        wait_until(lambda: {line["request_id"] for line in told()} == unread, within_s=40)
    assert {line["message"] for line in told()} == {"request"}


GARBAGE = {
    "nothing but a line": b"\r\n",
    "words": b"hello " + SECRET.encode() + b"\r\n\r\n",
    "zeros": b"\0" * 5000,
    "noise": random.Random(5).randbytes(5000),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0",
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "SMTP": b"EHLO example.org\r\n",
    "Redis": b"*1\r\n$4\r\nPING\r\n",
    "a proxy's greeting": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + LIVEZ,
    "HTTP/0.9": b"GET /livez\r\n\r\n",
    "HTTP/3.7": b"GET /livez HTTP/3.7\r\n" + HOST + b"\r\n",
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /livez HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    "a tunnel": b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n",
    "a method": b"STEAL /livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target": b"GET livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target of bytes": b"GET /\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n",
    "a space in the target": b"GET /livez /readyz HTTP/1.1\r\n" + HOST + b"\r\n",
    "a length below zero": b"POST /v1/score HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
    "a length beyond all": b"POST /v1/score HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 99999999999999999999\r\n\r\n",
    "a huge header": b"GET /livez HTTP/1.1\r\n" + HOST + b"X: " + SECRET.encode() * 10_000,
    "a header without an end": b"GET /livez HTTP/1.1\r\n" + HOST + b"X" * 100_000,
    "very many headers": b"GET /livez HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 5000 + b"\r\n",
    "a huge target": b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a huge id": b"GET /livez HTTP/1.1\r\n" + HOST + b"X-Request-Id: " + b"x" * 9000 + b"\r\n\r\n",
    "blank lines": b"\r\n" * 50_000,
}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_gets_one_error_object(server: Server, garbage: str) -> None:
    answer = ask(server.port, GARBAGE[garbage], end=True)
    if garbage == "nothing but a line":
        assert answer == b""
        return
    if garbage in ("SSH", "SMTP") and not answer:
        return  # a first line may still become a request's
    assert len(statuses(answer)) == 1, answer[:200]
    assert statuses(answer)[0] in (400, 405, 431)
    said, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in said
    assert b"x-request-id: " in said
    assert set(json.loads(body)["error"]) >= {"message", "type", "code"}
    assert SECRET.encode() not in answer


def test_a_client_that_wants_tls_is_told_so_at_once(server: Server) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    began = time.monotonic()
    with connect(server.port) as client, pytest.raises(ssl.SSLError):
        context.wrap_socket(client)
    assert time.monotonic() - began < LIMIT_S


def test_a_half_closed_client_gets_its_answer(server: Server) -> None:
    got = ask(server.port, server.request, end=True)
    assert statuses(got) == [200]
    assert server.answer in got


def test_nobody_is_sent_elsewhere(server: Server) -> None:
    """Neither for a slash nor because somebody claims to have come by another way."""
    forged = b"X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\n"
    path = server.path.encode()
    asked = server.request.replace(path, path + b"/", 1).replace(
        b"Content-Type", forged + b"Content-Type", 1
    )
    got = ask(server.port, asked)
    assert statuses(got) == [200]
    assert b"location:" not in got.lower()
    assert b"evil.test" not in got


@pytest.mark.parametrize("split", [1, 17, 100, 1000])
def test_a_request_in_any_pieces(server: Server, split: int) -> None:
    """Three requests at once, cut anywhere, are answered in their order."""
    kept = server.request.replace(b"Connection: close\r\n", b"")
    stream = kept + b"GET /nothing HTTP/1.1\r\n" + HOST + b"\r\n" + server.request
    pieces = [stream[at : at + split] for at in range(0, len(stream), split)]
    got = ask(server.port, *pieces)
    assert statuses(got) == [200, 404, 200]


def test_garbage_behind_good_requests_is_answered_last(server: Server) -> None:
    kept = server.request.replace(b"Connection: close\r\n", b"")
    got = ask(server.port, kept + kept + GARBAGE["words"])
    assert statuses(got) == [200, 200, 400]


def test_clients_that_reset(server: Server) -> None:
    """At any moment: before, within and behind a request."""
    kept = server.request.replace(b"Connection: close\r\n", b"")
    dice = random.Random(1)
    for _ in range(150):
        client = connect(server.port)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with client, contextlib.suppress(OSError):
            client.sendall(kept[: dice.randint(0, len(kept) + 20)])
            if dice.random() < 0.3:
                client.settimeout(0.05)
                client.recv(10)


HEADERS = st.lists(
    st.sampled_from(
        [
            b"Host: x", b"Content-Length: 5", b"Content-Length: 0", b"Transfer-Encoding: chunked",
            b"Connection: close", b"Connection: keep-alive", b"Connection: upgrade",
            b"Upgrade: websocket", b"Expect: 100-continue", b"Content-Type: application/json",
            b" folded", b"X: \xff", b": none", b"no colon", b"X-Request-Id: a b",
            b"Authorization: Bearer x", b"Origin: null", b"traceparent: 00-00-00-00",
        ]
    ),
    max_size=8,
)  # fmt: skip
LINES = st.sampled_from(
    [
        b"GET /livez HTTP/1.1", b"POST /v1/chat/completions HTTP/1.1", b"POST /v1/score HTTP/1.1",
        b"HEAD /v1/models HTTP/1.0", b"OPTIONS * HTTP/1.1", b"GET http://x/livez HTTP/1.1",
        b"DELETE /v1/models/%00 HTTP/1.1", b"GET //livez?a=%zz#f HTTP/1.1", b"TRACE / HTTP/1.1",
    ]
)  # fmt: skip
TAILS = st.sampled_from(
    [b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"{}", b"0\r\n\r\n", b"ffff\r\n", b"\0" * 9, LIVEZ]
)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    messages=st.lists(st.tuples(LINES, HEADERS, TAILS), min_size=1, max_size=3),
    damage=st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3)), max_size=2),
)
def test_requests_that_nobody_thought_of(
    server: Server,
    messages: list[tuple[bytes, list[bytes], bytes]],
    damage: list[tuple[int, bytes]],
) -> None:
    """Whatever a client says: answers that are HTTP, none of them the server's own failure, and
    an end."""
    sent = b"".join(
        b"\r\n".join([line, *headers]) + b"\r\n\r\n" + tail for line, headers, tail in messages
    )
    for at, what in damage:
        sent = sent[:at] + what + sent[at + 1 :]
    got = ask(server.port, sent, end=True)
    assert all(status < 500 for status in statuses(got)), got
