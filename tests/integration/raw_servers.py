"""The gateway and the reward server as processes with few descriptors and short limits, for
clients that speak TCP and not always HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil

from tests.bon_common.http.app import ask, statuses
from tests.integration.engines import start_reward_server
from tests.integration.gateway import Gateway
from tests.integration.processes import Process, Processes
from tests.integration.proxied import SECRET, chat_body, head, obedient, stand_in

DESCRIPTORS = 128
LIMIT_S = 2.0
"""Of a head, of a pause in a body, and of an answer that is not read."""
LIVEZ = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
SLOWEST_S = 3.0
"""That ``/livez`` may take while tests beside this one have the processor too. Alone it takes a
millisecond; a server that one client holds up takes seconds, or does not answer at all."""


@dataclass(frozen=True)
class Server:
    name: str
    process: Process
    port: int
    path: str
    request: bytes
    """A good one, to that path."""
    answer: bytes
    """What its answer contains."""

    @property
    def descriptors(self) -> int:
        return sum(member.num_fds() for member in self.process.members() if _runs(member))

    def check(self) -> None:
        """It answers like any other day."""
        got = ask(self.port, self.request)
        assert statuses(got) == [200], got
        assert self.answer in got


def _runs(process: psutil.Process) -> bool:
    return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE


def good_request(path: str, body: bytes) -> bytes:
    return head(f"Content-Length: {len(body)}", "Connection: close", path=path) + body


@contextmanager
def gateway_server(processes: Processes) -> Iterator[Server]:
    limits = dict.fromkeys(("head_timeout_s", "body_timeout_s", "write_timeout_s"), LIMIT_S)
    with stand_in(obedient()) as (upstream, _):
        policy = {"type": "vllm", "urls": [upstream.url], "model": "fake", "probe_interval_s": 0.5}
        settings: dict[str, Any] = {
            "policies": {"fake": policy},
            "models": {"echo": {"policy": "fake", "strategy": {"type": "single"}}},
            "server": limits,
        }
        gateway = Gateway(processes, settings, descriptors=DESCRIPTORS)
        gateway.wait()
        port = int(gateway.url.rpartition(":")[2])
        path = "/v1/chat/completions"
        request = good_request(path, chat_body("said by nobody else"))
        yield Server("gateway", gateway.process, port, path, request, b"said by nobody else")
        gateway.wait_done()
        # Out of descriptors is nobody's fault but ours: no upstream was blamed for it.
        assert "is ejected" not in gateway.process.output
        gateway.process.stop()


@contextmanager
def reward_server(processes: Processes) -> Iterator[Server]:
    flags = ("--head-timeout-s", "--body-timeout-s", "--write-timeout-s")
    upstream = start_reward_server(
        processes,
        flags=[part for flag in flags for part in (flag, str(LIMIT_S))],
        descriptors=DESCRIPTORS,
    )
    upstream.wait()
    messages = [{"role": "user", "content": "name three toys"}]
    answers = [{"role": "assistant", "content": "a ball"}]
    body = json.dumps({"items": [{"messages": messages, "completions": answers}]}).encode()
    path = "/v1/score"
    request = good_request(path, body)
    yield Server("reward server", upstream.process, upstream.port, path, request, b'"rewards"')
    upstream.process.stop()


SERVERS = {"gateway": gateway_server, "reward server": reward_server}


def check_log(server: Server) -> None:
    """Nothing unexpected happened, and nothing of what clients sent is in it."""
    output = server.process.output
    assert "traceback" not in output.lower()
    assert "Too many open files" not in output
    assert "EMFILE" not in output
    assert SECRET not in output


@contextmanager
def watching(port: int) -> Iterator[None]:
    """Asks for ``/livez`` again and again meanwhile, over a new connection each time. Every answer
    must be a 200, and none may take long."""
    times: list[float] = []
    wrong: list[bytes] = []
    over = threading.Event()

    def ask_on() -> None:
        while True:
            began = time.monotonic()
            try:
                got = ask(port, LIVEZ)
            except OSError as error:
                got = repr(error).encode()
            times.append(time.monotonic() - began)
            if statuses(got) != [200]:
                wrong.append(got)
            if over.wait(0.03):
                return

    thread = threading.Thread(target=ask_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(60)
    assert wrong == []
    assert times
    assert max(times) < SLOWEST_S
