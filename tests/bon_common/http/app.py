"""A small app behind each server's own uvicorn protocol, in this process, for raw sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from bon_common.http.connections import bounded_http
from bon_common.http.protocol import ON_LEAVING
from bon_common.http.settings import HttpServerSettings
from tests.waiting import wait_until

LARGEST = 1_000_000


@dataclass
class App:
    """A POST gets its body's length. ``/slow`` answers after a moment, and ``/stream`` never ends.
    ``/hang``, ``/called``, ``/called-late`` and ``/not-called`` wait for the client to leave."""

    seen: list[tuple[str, int]] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        size = 0
        lengths = [value for name, value in scope["headers"] if name == b"content-length"]
        if lengths and int(lengths[0]) > LARGEST:
            await self.answer(send, 413, b"too large")
            return
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.cut.append(scope["path"])
                return
            size += len(message["body"])
            if size > LARGEST:
                await self.answer(send, 413, b"too large")
                return
            if not message["more_body"]:
                break
        self.seen.append((scope["path"], size))
        if scope["path"] == "/stream":
            await self.stream(receive, send)
        elif scope["path"] == "/pieces":
            await self.pieces(send)
        elif scope["path"] in ("/hang", "/called", "/called-late", "/not-called"):
            await self.hang(scope, receive)
        else:
            if scope["path"] == "/slow":
                await asyncio.sleep(0.3)
            await self.answer(send, 200, b"%d" % size)

    async def answer(self, send: Any, status: int, body: bytes) -> None:
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def hang(self, scope: Any, receive: Any) -> None:
        path, call_on_leaving = scope["path"], scope[ON_LEAVING]
        if path == "/called":
            gone = asyncio.Event()
            call_on_leaving(gone.set)
            await gone.wait()
            self.cut.append(path)
            return
        if path == "/not-called":
            first = call_on_leaving(lambda: self.cut.append(path))
            second = call_on_leaving(lambda: self.cut.append("/second"))
            first()
            if scope["query_string"] == b"both":
                second()
        await receive()
        if path == "/called-late":
            call_on_leaving(lambda: self.cut.append(path))
        else:
            self.cut.append("/hang")

    async def pieces(self, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in (b"one", b"", b"two"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def stream(self, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        gone = asyncio.ensure_future(receive())
        while not gone.done():
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            await asyncio.sleep(0)
        self.cut.append("/stream")


@contextmanager
def served(limits: HttpServerSettings) -> Iterator[tuple[App, int]]:
    """The app on a loopback port."""
    app = App()
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            loop="uvloop",
            http=bounded_http(limits),
            ws="none",
            lifespan="off",
            log_config=None,
            timeout_graceful_shutdown=1,
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield app, listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def read_all(client: socket.socket) -> bytes:
    """Until the server closes."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := client.recv(65536):
            data += piece
    return data


def ask(port: int, *parts: bytes, end: bool = False) -> bytes:
    """All that the server says to these bytes until it closes the connection."""
    with connect(port) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for part in parts:
                client.sendall(part)
        if end:
            client.shutdown(socket.SHUT_WR)
        return read_all(client)


def statuses(answers: bytes) -> list[int]:
    return [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]
