"""Against a real server on the loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.trainers.iterate.conftest import MakeSettings
from trainers.base.data import Conversation, Message
from trainers.base.errors import RunError
from trainers.iterate.endpoint import EndpointSampler

PROMPTS = [Conversation([Message(role="user", content=text)]) for text in ("one", "two")]


class Server(ThreadingHTTPServer):
    """Serves `models`, each from its nth request on."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.models = {"policy-0": 0, "policy-1": 3}
        self.reason = "stop"
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.bodies.append(body)
        known = self.server.models.get(body["model"], 10**9) < len(self.server.bodies)
        text = f"{body['messages'][0]['content']} {body['seed']}" if "seed" in body else "."
        choice = {
            "message": {"role": "assistant", "content": text},
            "finish_reason": self.server.reason,
        }
        content = {"choices": [choice]} if known else {"error": {"message": "no such model"}}
        data = json.dumps(content).encode()
        self.send_response(200 if known else 404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        """Silence."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def sampler(
    settings: MakeSettings, server: Server, number: int, wait_s: float = 0.0
) -> EndpointSampler:
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    endpoint = {"url": url, "model": "policy-{round}", "wait_s": wait_s, "retries": 0}
    made = settings(endpoint=endpoint, samples=3)
    assert made.endpoint is not None
    return EndpointSampler(made, made.endpoint, number)


def test_answers_come_in_order_with_seeds_of_their_own(
    settings: MakeSettings, server: Server
) -> None:
    subject = sampler(settings, server, 0)
    first, again = subject.sample(PROMPTS, seed=5), subject.sample(PROMPTS, seed=5)
    assert first == again
    assert [[a.text.split()[0] for a in row] for row in first] == [["one"] * 3, ["two"] * 3]
    assert len({answer.text.split()[1] for row in first for answer in row}) == 6
    assert subject.describe()["policy"] == "policy-0"
    sent = server.bodies[-1]
    assert (sent["temperature"], sent["max_tokens"]) == (1.0, 32)
    assert 0 <= sent["seed"] < 2**31


def test_a_cut_answer_is_known_as_such(settings: MakeSettings, server: Server) -> None:
    server.reason = "length"
    rows = sampler(settings, server, 0).sample(PROMPTS, seed=5)
    assert not any(answer.ended for row in rows for answer in row)


def test_the_model_of_a_round_is_waited_for(settings: MakeSettings, server: Server) -> None:
    assert sampler(settings, server, 1, wait_s=30).describe()["policy"] == "policy-1"
    assert len(server.bodies) == 4
    assert {body["model"] for body in server.bodies} == {"policy-1"}


def test_a_model_that_never_comes_ends_the_run(settings: MakeSettings, server: Server) -> None:
    with pytest.raises(RunError, match=r"policy-7 is not served: .*no such model"):
        sampler(settings, server, 7)


def test_a_request_that_fails_ends_the_run(settings: MakeSettings, server: Server) -> None:
    subject = sampler(settings, server, 0)
    server.models.clear()
    with pytest.raises(RunError, match="no such model"):
        subject.sample(PROMPTS, seed=0)
