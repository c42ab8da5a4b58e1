"""A gateway with a reverse proxy on either side, and the clients that try it.

The stand-in for vLLM and the reward server says back what it was asked, so that each client can
tell its own answer from another's; a prompt that begins with a command has it misbehave.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from bon_gateway.testing.script import Call, Script, Step
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_common.http.app import connect
from tests.growing_logs import entries
from tests.integration.gateway import Gateway
from tests.integration.processes import Processes
from tests.integration.reverse_proxies import (
    Between,
    Front,
    Kind,
    start_between,
    start_front,
)
from tests.waiting import wait_until

SECRET = "purple-elephant"
WORDS = "one two three four five six"
SENT_BEFORE_HANGING = 3
COMMENT_S = 2
"""The gateway sends a comment after this much silence, long after a stream's tokens have come."""


def obedient() -> Script:
    """Echo, or do what the prompt says: ``hang``, ``cut``, or ``cut once`` (each call's first
    attempt)."""
    cut: set[str] = set()

    def script(call: Call) -> Step:
        if call.path != "/v1/chat/completions":
            return Step()
        prompt = str(call.body["messages"][-1]["content"])
        name = call.headers.get("x-request-id", "")
        if prompt == "hang":
            return Step(text=WORDS, hang_after=SENT_BEFORE_HANGING)
        if prompt == "cut" or (prompt == "cut once" and name not in cut):
            cut.add(name)
            return Step(cut_after=0)
        return Step(text=prompt)

    return script


@contextmanager
def stand_in(script: Script) -> Iterator[tuple[FakeUpstream, Callable[[], None]]]:
    """A fake upstream on an event loop of its own, so that tests may block; and what closes all
    its connections."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def do(what: Any) -> None:
        asyncio.run_coroutine_threadsafe(what, loop).result(20)

    upstream = FakeUpstream(script)

    def restart() -> None:
        do(upstream.stop())
        do(upstream.start())

    try:
        do(upstream.start())
        yield upstream, restart
    finally:
        do(upstream.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


@dataclass(frozen=True)
class World:
    kind: Kind
    upstream: FakeUpstream
    restart_upstream: Callable[[], None]
    between: Between
    gateway: Gateway
    front: Front

    @property
    def gateway_port(self) -> int:
        return int(self.gateway.url.rpartition(":")[2])

    def calls(self, request_id: str) -> list[Call]:
        """What the upstream was asked for one request."""
        return [
            call
            for call in self.upstream.calls
            if call.headers.get("x-request-id", "").startswith(request_id)
        ]

    def log_lines(self, request_id: str) -> list[dict[str, Any]]:
        """The gateway's lines about one request; the access line is the last of them."""

        def found() -> list[dict[str, Any]]:
            told = entries(self.gateway.process.output)
            return [entry for entry in told if entry.get("request_id") == request_id]

        wait_until(lambda: any(entry["message"] == "request" for entry in found()))
        return found()

    def done(self) -> None:
        """Nothing is in flight anywhere."""
        self.gateway.wait_done()
        wait_until(lambda: self.upstream.running == 0)


def settings(between: Between, upstream: str) -> dict[str, Any]:
    """Every call goes through the proxy, but for those of ``judged``, whose scores alone do. Pages
    of its own are no reason to leave it."""
    policy = {"type": "vllm", "model": "fake", "failures_to_eject": 1000, "probe_interval_s": 60}
    url, small = (f"http://127.0.0.1:{port}" for port in (between.port, between.small_port))
    best = {"type": "best_of_n", "n": 3}
    return {
        "policies": {
            "separate": {**policy, "urls": [url], "fan_out": "separate"},
            "together": {**policy, "urls": [url], "fan_out": "together"},
            "small": {**policy, "urls": [small]},
            "direct": {**policy, "urls": [upstream]},
        },
        "rewards": {
            "server": {"type": "reward_server", "urls": [url], "failures_to_eject": 1000},
            "classify": {"type": "vllm_classify", "urls": [url], "failures_to_eject": 1000},
        },
        "models": {
            "echo": {"policy": "together", "strategy": {"type": "single"}},
            "small": {"policy": "small", "strategy": {"type": "single"}},
            "best": {"policy": "separate", "reward": "server", "strategy": best},
            "judged": {"policy": "direct", "reward": "server", "strategy": best},
            "judged-strictly": {
                "policy": "direct",
                "reward": "classify",
                "strategy": {**best, "fallback": "error"},
            },
            "best-together": {"policy": "together", "reward": "classify", "strategy": best},
        },
        "server": {"keepalive_s": COMMENT_S},
    }


@contextmanager
def proxied(kind: Kind, processes: Processes, folders: pytest.TempPathFactory) -> Iterator[World]:
    """All of it; at the end nothing may be in flight, and no text of a client in the log."""
    with stand_in(obedient()) as (upstream, restart):
        between = start_between(kind, processes, folders.mktemp(kind), upstream.port)
        gateway = Gateway(processes, settings(between, upstream.url))
        gateway.wait()
        port = int(gateway.url.rpartition(":")[2])
        front = start_front(kind, processes, folders.mktemp(kind), port)
        world = World(kind, upstream, restart, between, gateway, front)
        yield world
        world.done()
        for process in (front.process, gateway.process, between.process):
            process.stop()
    output = gateway.process.output
    assert "traceback" not in output.lower()
    assert SECRET not in output


def chat_body(prompt: str, model: str = "echo", **more: Any) -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], **more}
    return json.dumps(body).encode()


def head(*lines: str, method: str = "POST", path: str = "/v1/chat/completions") -> bytes:
    """A request's head with a Host and these header lines, its end included."""
    first = [f"{method} {path} HTTP/1.1", "Host: gateway.test", "Content-Type: application/json"]
    return "\r\n".join([*first, *lines]).encode("latin-1") + b"\r\n\r\n"


def chat_bytes(prompt: str, request_id: str, model: str = "echo", **more: Any) -> bytes:
    body = chat_body(prompt, model, **more)
    return head(f"X-Request-Id: {request_id}", f"Content-Length: {len(body)}") + body


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        content: str = self.json["choices"][0]["message"]["content"]
        return content

    @property
    def error(self) -> dict[str, Any]:
        """OpenAI's object, and nothing else."""
        (error,) = self.json.values()
        assert set(error) >= {"message", "type", "code"}
        return error  # type: ignore[no-any-return]


def read_answer(client: socket.socket, method: str = "POST") -> Answer:
    response = http.client.HTTPResponse(client, method=method)
    try:
        response.begin()
        return Answer(response.status, response.headers, response.read())
    finally:
        response.close()


def ask(port: int, prompt: str, request_id: str = "any", **more: Any) -> Answer:
    """One request over a connection of its own."""
    headers = more.pop("headers", {})
    lines = [f"{name}: {value}" for name, value in headers.items()]
    body = chat_body(prompt, **more)
    with connect(port) as client:
        client.sendall(
            head(f"X-Request-Id: {request_id}", f"Content-Length: {len(body)}", *lines) + body
        )
        return read_answer(client)


def begin_stream(client: socket.socket, prompt: str, model: str = "echo") -> None:
    client.sendall(chat_bytes(prompt, "a-stream", model, stream=True))


def read_until(client: socket.socket, *wanted: bytes) -> bytes:
    """What comes until all of ``wanted`` is there; the socket's timeout is the limit."""
    data = b""
    while not all(part in data for part in wanted):
        piece = client.recv(65536)
        assert piece, f"it ended with {data[-200:]!r}"
        data += piece
    return data
