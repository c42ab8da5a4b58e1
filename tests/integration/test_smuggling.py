"""No request that two servers could read differently costs another client its answer.

One client sends what desynchronises a proxy and a server that disagree where a request ends;
others ask through the same proxy, over the same connections to the gateway, during it and after
it. Each must get its own answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.bon_common.http.app import connect, statuses
from tests.integration.processes import Processes
from tests.integration.proxied import (
    SECRET,
    World,
    ask,
    chat_body,
    chat_bytes,
    head,
    proxied,
)
from tests.integration.reverse_proxies import KINDS

VICTIMS = 4
NO_FAILURE = {100, 200, 400, 404, 405, 415, 422, 501}
"""422 and 501 are the proxies' own. With 502 a proxy would say that the gateway broke off."""
BODY = chat_body(f"the attacker's {SECRET}")
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
SMUGGLED = chat_bytes("smuggled", "smuggled")
LENGTH = f"Content-Length: {len(BODY)}"
PREFIX = head("Content-Length: 1000", "X-Eaten: ")[:-4]
"""Of a request that would eat the next client's."""


ATTACKS = {
    "length and chunks": head(f"Content-Length: {len(CHUNKED)}", "Transfer-Encoding: chunked")
    + b"0\r\n\r\n",
    "chunks and length": head("Transfer-Encoding: chunked", "Content-Length: 6") + b"0\r\n\r\nX",
    "length longer than chunks": head(
        f"Content-Length: {5 + len(SMUGGLED)}", "Transfer-Encoding: chunked"
    )
    + b"0\r\n\r\n",
    "two lengths": head(LENGTH, f"Content-Length: {len(BODY) + len(SMUGGLED)}") + BODY,
    "two equal lengths": head(LENGTH, LENGTH) + BODY,
    "a list of lengths": head(f"{LENGTH}, {len(BODY)}") + BODY,
    "a length with a sign": head(f"Content-Length: +{len(BODY)}") + BODY,
    "a length in hex": head(f"Content-Length: {len(BODY):#x}") + BODY,
    "a length with a space": head(f"Content-Length : {len(BODY)}") + BODY,
    "a length with an underscore": head(LENGTH, "Content_Length: 5") + BODY,
    "no length": head() + BODY,
    "a length of zero": head("Content-Length: 0"),
    "unknown coding": head(LENGTH, "Transfer-Encoding: xchunked") + BODY,
    "coding in capitals": head("Transfer-Encoding: CHUNKED") + CHUNKED,
    "a space before the colon": head(LENGTH, "Transfer-Encoding : chunked") + BODY,
    "a tab before the coding": head(LENGTH, "Transfer-Encoding:\tchunked") + b"0\r\n\r\n",
    "a vertical tab before the coding": head(LENGTH, "Transfer-Encoding:\x0bchunked") + BODY,
    "a folded coding": head(LENGTH, "Transfer-Encoding:\r\n chunked") + BODY,
    "a folded header": head(LENGTH, "X-Long: a\r\n b") + BODY,
    "identity and chunks": head("Transfer-Encoding: identity, chunked") + CHUNKED,
    "chunks twice": head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + CHUNKED,
    "chunks, then another": head("Transfer-Encoding: chunked, identity") + CHUNKED,
    "quoted coding": head(LENGTH, 'Transfer-Encoding: "chunked"') + BODY,
    "bare line feeds": head(LENGTH).replace(b"\r\n", b"\n") + BODY,
    "one bare line feed": head(LENGTH, "X-A: b\nTransfer-Encoding: chunked") + b"0\r\n\r\n",
    "a bare return": head(LENGTH, "X-A: b\rTransfer-Encoding: chunked") + BODY,
    "a null": head(LENGTH, "X-A: b\0c") + BODY,
    "two hosts": head(LENGTH, "Host: another.test") + BODY,
    "another host in the target": head(LENGTH).replace(b"POST /", b"POST http://other.test/")
    + BODY,
    "a header without a name": head(LENGTH, ": nameless") + BODY,
    "a header without a colon": head(LENGTH, "X-Nothing") + BODY,
    "a chunk of sign": head("Transfer-Encoding: chunked") + b"+" + CHUNKED,
    "a chunk in hex": head("Transfer-Encoding: chunked") + b"0x" + CHUNKED,
    "a chunk with a line feed": head("Transfer-Encoding: chunked")
    + CHUNKED.replace(b"\r\n", b"\n", 1),
    "a chunk extension": head("Transfer-Encoding: chunked")
    + CHUNKED.replace(b"\r\n", b";a=b\r\n", 1),
    "a chunk extension with a line feed": head("Transfer-Encoding: chunked")
    + CHUNKED.replace(b"\r\n", b";a\nb\r\n", 1),
    "a chunk too long": head("Transfer-Encoding: chunked") + b"f" * 20 + b"\r\n" + BODY,
    "a trailer": head("Transfer-Encoding: chunked")
    + CHUNKED[:-2]
    + b"Content-Length: 99\r\nHost: x\r\n\r\n",
    "HTTP/1.0 with chunks": head("Transfer-Encoding: chunked", "Connection: keep-alive").replace(
        b"HTTP/1.1", b"HTTP/1.0"
    )
    + CHUNKED,
    "HTTP/1.9": head(LENGTH).replace(b"HTTP/1.1", b"HTTP/1.9") + BODY,
    "GET with a body": head(f"Content-Length: {len(SMUGGLED)}", method="GET", path="/livez"),
    "HEAD with a body": head(f"Content-Length: {len(SMUGGLED)}", method="HEAD", path="/livez"),
    "OPTIONS with a body": head(
        f"Content-Length: {len(SMUGGLED)}", method="OPTIONS", path="/livez"
    ),
    "an upgrade": head(
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
        f"Content-Length: {len(SMUGGLED)}",
    ),
    "a websocket": head(
        "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", method="GET"
    ),
    "Expect: 100-continue and the body at once": head(LENGTH, "Expect: 100-continue") + BODY,
    "another expectation": head(LENGTH, "Expect: 200-ok") + BODY,
    "a header to be dropped": head(LENGTH, "Connection: keep-alive, content-length") + BODY,
    "a prefix that eats": head(f"Content-Length: {len(PREFIX)}") + PREFIX,
    "refused before its body": head(LENGTH, path="/nothing") + BODY,
    "a wrong type": head(LENGTH).replace(b"application/json", b"text/plain") + BODY,
}
"""Each is followed by another request at once, or has it in its body."""


@pytest.fixture(scope="module", params=KINDS)
def world(
    request: pytest.FixtureRequest, passing: Processes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with proxied(request.param, passing, tmp_path_factory) as world:
        yield world


def own_answer(world: World, name: str) -> None:
    answer = ask(world.front.port, f"prompt of {name}", name)
    assert answer.status == 200, answer.body
    assert answer.text == f"prompt of {name}"
    assert answer.headers["x-request-id"] == name


def victims(world: World, names: list[str]) -> None:
    with ThreadPoolExecutor(len(names)) as pool:
        for done in [pool.submit(own_answer, world, name) for name in names]:
            done.result()


@pytest.mark.parametrize("attack", ATTACKS)
def test_others_get_their_own_answers(world: World, attack: str) -> None:
    name = attack.replace(" ", "-").replace("/", "-").replace(",", "")
    said = b""
    with connect(world.front.port) as client:
        client.settimeout(0.5)
        with contextlib.suppress(OSError):
            client.sendall(ATTACKS[attack] + SMUGGLED)
        victims(world, [f"{name}-during-{number}" for number in range(VICTIMS)])
        with contextlib.suppress(TimeoutError, ConnectionError):
            said = client.recv(65536)
    for number in range(VICTIMS):
        own_answer(world, f"{name}-after-{number}")
    victims(world, [f"{name}-afterwards-{number}" for number in range(VICTIMS)])
    assert set(statuses(said)) <= NO_FAILURE


def test_the_connections_were_shared(world: World) -> None:
    """Or all of this would show nothing: one client after another, one connection."""
    before = gateway_connections(world)
    for number in range(10):
        own_answer(world, f"shared-{number}")
    assert gateway_connections(world) == before
    assert len(before) <= VICTIMS + 1


def gateway_connections(world: World) -> set[int]:
    """The proxy's ports on its connections to the gateway."""
    found: list[Any] = [
        connection
        for member in world.front.process.members()
        for connection in member.net_connections(kind="tcp")
        if connection.status == "ESTABLISHED"
    ]
    return {one.laddr.port for one in found if one.raddr.port == world.gateway_port}


def test_pipelined_requests_are_answered_in_their_order(world: World) -> None:
    with connect(world.front.port) as client:
        client.sendall(b"".join(chat_bytes(f"number {n}", f"line-{n}") for n in range(8)))
        answers = client.makefile("rb")
        for number in range(8):
            assert b" 200 " in answers.readline()
            fields = {}
            while field := answers.readline().rstrip():
                name, _, value = field.partition(b": ")
                fields[name.lower()] = value
            assert fields[b"x-request-id"] == b"line-%d" % number
            assert b"number %d" % number in answers.read(int(fields[b"content-length"]))
