"""The service over HTTP, on real loopback ports."""

from __future__ import annotations

import json
import math
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from reward_server.errors import BatchMemoryError
from reward_server.http.app import create_app
from reward_server.settings import Settings
from reward_server.testing import FakeForward, answer_of
from tests.reward_server.conftest import sample
from tests.reward_server.http.app_kit import Serve, body, fake_app
from tests.waiting import wait_until


class Held:
    """A served fake model whose gate is shut, with one request inside it."""

    def __init__(self, serve: Serve, **settings: Any) -> None:
        self.forward = FakeForward()
        self.app = fake_app(self.forward, **settings)
        self.client = serve(self.app)
        self.warm_up = len(self.forward.batches)
        self.pool = ThreadPoolExecutor(16)
        self.forward.gate.clear()
        self.first = self.post("first")
        wait_until(lambda: len(self.forward.batches) == self.warm_up + 1)

    def post(self, *completions: str, **more: Any) -> Future[httpx.Response]:
        return self.pool.submit(self.client.post, "/v1/score", json=body(*completions, **more))

    def wait_queued(self, sequences: int) -> None:
        """Until so many wait for the model; the gauge counts those that are being rendered too."""
        batcher = self.app.state.service.scorer()._batcher
        wait_until(lambda: sum(job.waiting for job in batcher._jobs) == sequences)

    def release(self) -> list[list[str]]:
        """Open the gate; return the answers of every batch since the warm-up."""
        self.forward.gate.set()
        self.pool.shutdown()
        return [[answer_of(s) for s in batch] for batch in self.forward.batches[self.warm_up :]]


def test_a_loaded_model_is_served(serve: Serve, llama: Path) -> None:
    client = serve(create_app(Settings(model=str(llama), device="cpu", served_model_name="rm")))
    answers = ["a", "", {"role": "assistant", "content": "longer answer"}, "a"]
    response = client.post("/v1/score", json=body(*answers, model="rm"))
    assert response.status_code == 200
    answer = response.json()
    assert answer["model"] == "rm"
    rewards = answer["results"][0]["rewards"]
    assert all(math.isfinite(reward) for reward in rewards)
    assert rewards[0] == rewards[3] != rewards[1]
    for given, reward in zip(answers, rewards, strict=True):
        alone = client.post("/v1/score", json=body(given)).json()
        assert alone["results"][0]["rewards"] == pytest.approx([reward], abs=1e-5)
    assert answer["usage"]["sequences"] == 3
    assert answer["timings_ms"]["model"] > 0
    model = client.get("/v1/models").json()["data"][0]
    assert model["id"] == "rm"
    assert (model["device"], model["dtype"], model["max_tokens"]) == ("cpu", "float32", 96)
    assert model["labels"] == ["LABEL_0"]
    assert model["parameters"] > 0
    assert str(llama) not in json.dumps(model), "the answer shows where the model lies"


def test_order_is_kept_across_items(serve: Serve) -> None:
    client = serve(fake_app(FakeForward(), max_batch_tokens=50))
    items = [body(*("x" * n for n in lengths))["items"][0] for lengths in [(3, 9, 1), (7,), (2, 8)]]
    answer = client.post("/v1/score", json={"items": items}).json()
    assert [r["rewards"] for r in answer["results"]] == [[3.0, 9.0, 1.0], [7.0], [2.0, 8.0]]


def test_concurrent_requests_share_a_batch(serve: Serve) -> None:
    held = Held(serve)
    before = sample(held.client, "reward_server_forwards_total")
    others = [held.post(f"answer {i}") for i in range(8)]
    held.wait_queued(8)
    assert sample(held.client, "reward_server_queue_sequences") == 8
    batches = held.release()
    assert all(future.result().status_code == 200 for future in [held.first, *others])
    assert sorted(batches[1]) == [f"answer {i}" for i in range(8)]
    assert sample(held.client, "reward_server_forwards_total") - before == 2


def test_the_loop_answers_while_the_model_is_busy(serve: Serve) -> None:
    held = Held(serve)
    started = time.monotonic()
    assert held.client.get("/livez").status_code == 200
    assert held.client.get("/readyz").status_code == 200
    assert time.monotonic() - started < 1
    assert not held.first.done()
    held.release()
    assert held.first.result().status_code == 200


def test_a_client_that_leaves_takes_its_work_along(serve: Serve) -> None:
    held = Held(serve)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(held.client.base_url.join("/v1/score"), json=body("left"), timeout=0.2)
    wait_until(lambda: sample(held.client, 'reward_server_errors_total{code="client_left"}') == 1)
    assert sample(held.client, "reward_server_queue_sequences") == 0
    assert held.release() == [["first"]]
    name = 'reward_server_requests_total{path="/v1/score",status="499"}'
    assert sample(held.client, name) == 1


def test_a_full_queue_says_when_to_come_back(serve: Serve) -> None:
    held = Held(serve, max_queue_sequences=2)
    waiting = held.post("a", "b")
    wait_until(lambda: sample(held.client, "reward_server_queue_sequences") == 2)
    refused = held.client.post("/v1/score", json=body("c"))
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "queue_full"
    assert int(refused.headers["retry-after"]) >= 1
    held.release()
    assert waiting.result().status_code == 200


def test_a_deadline_is_kept(serve: Serve) -> None:
    held = Held(serve)
    late = held.client.post("/v1/score", json=body("late", deadline_ms=50))
    assert late.status_code == 504
    assert late.json()["error"]["code"] == "deadline_exceeded"
    assert held.release() == [["first"]]


def test_running_out_of_memory_is_survived(serve: Serve) -> None:
    forward = FakeForward()
    client = serve(fake_app(forward, max_batch_tokens=1000))
    forward.failures = [BatchMemoryError("full")]
    assert client.post("/v1/score", json=body("a", "bb")).json()["results"][0]["rewards"] == [1, 2]
    assert sample(client, "reward_server_out_of_memory_total") == 1
    assert sample(client, "reward_server_batch_budget_tokens") == 500
    forward.failures = [BatchMemoryError("full")] * 2
    failed = client.post("/v1/score", json=body("a"))
    assert failed.status_code == 503
    assert failed.json()["error"]["code"] == "out_of_memory"
    assert "retry-after" in failed.headers


def test_a_failing_model_is_a_500_and_the_server_lives(serve: Serve) -> None:
    forward = FakeForward()
    client = serve(fake_app(forward))
    forward.failures = [RuntimeError("secret detail")]
    failed = client.post("/v1/score", json=body("a"))
    assert failed.status_code == 500
    assert failed.json()["error"]["code"] == "model_failure"
    assert "secret" not in failed.text
    assert client.post("/v1/score", json=body("a")).status_code == 200


def test_a_reward_that_is_not_a_number_is_a_500(serve: Serve) -> None:
    client = serve(fake_app(FakeForward(lambda s: math.nan if answer_of(s) == "bad" else 0.0)))
    failed = client.post("/v1/score", json=body("good", "bad"))
    assert failed.status_code == 500
    error = failed.json()["error"]
    assert error["code"] == "non_finite_reward"
    assert error["param"] == "items[0].completions[1]"


BAD_BODIES: list[tuple[bytes, int, str, str | None]] = [
    (b"", 400, "invalid_request", None),
    (b"{", 400, "invalid_request", None),
    (b'{"model": "\xff", "items": []}', 400, "invalid_request", None),
    (b'{"items": []}', 400, "invalid_request", "items"),
    (b'{"item": []}', 400, "invalid_request", "item"),
    (b"{}", 400, "invalid_request", "items"),
    (b'{"items": [{"messages": [{}]}]}', 400, "invalid_request", "items[0].completions"),
    (
        b'{"items": [{"messages": [], "completions": ["a"]}]}',
        400,
        "invalid_request",
        "items[0].messages",
    ),
    (
        b'{"items": [{"messages": [{}], "completions": []}]}',
        400,
        "invalid_request",
        "items[0].completions",
    ),
    (
        b'{"items": [{"messages": [{}], "completions": ["a", 1]}]}',
        400,
        "invalid_request",
        "items[0].completions[1]",
    ),
    (
        b'{"items": [{"messages": [{}], "completions": ["a"]}]}',
        400,
        "unrenderable_conversation",
        "items[0].messages[0].role",
    ),
    (
        b'{"items": [{"messages": [{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}]}]}",
        400,
        "invalid_request",
        None,
    ),
    (json.dumps(body("a", deadline_ms=0)).encode(), 400, "invalid_request", "deadline_ms"),
    (json.dumps(body("a", on_overflow="cut")).encode(), 400, "invalid_request", "on_overflow"),
    (json.dumps(body("a", model="other")).encode(), 404, "model_not_found", "model"),
    (
        json.dumps(body("a", "b" * 100)).encode(),
        400,
        "context_length_exceeded",
        "items[0].completions[1]",
    ),
    (json.dumps(body(*["a"] * 9)).encode(), 400, "too_many_sequences", "items"),
    (json.dumps(body("a" * 20_000)).encode(), 413, "request_too_large", None),
]


def test_metadata_is_for_other_servers(serve: Serve) -> None:
    """One body fits this server and a gateway whose verifiers read it."""
    client = serve(fake_app(FakeForward(), max_json_values=30))
    sent = body("aaa", "b")
    expected = client.post("/v1/score", json=sent).json()["results"]
    for metadata in ({"reference": "42", "more": [1, {"a": None}]}, {}, None):
        sent["items"][0]["metadata"] = metadata
        answer = client.post("/v1/score", json=sent)
        assert (answer.status_code, answer.json()["results"]) == (200, expected)
    refused: list[tuple[Any, str | None]] = [
        ("42", "items[0].metadata"),
        ([], "items[0].metadata"),
        ({"many": [0] * 30}, None),
    ]
    for wrong, param in refused:
        sent["items"][0]["metadata"] = wrong
        answer = client.post("/v1/score", json=sent)
        assert (answer.status_code, answer.json()["error"].get("param")) == (400, param)


def test_bad_bodies_get_an_error_object_each(serve: Serve) -> None:
    client = serve(
        fake_app(FakeForward(), max_tokens=60, max_queue_sequences=8, max_body_bytes=16_000)
    )
    for sent, status, code, param in BAD_BODIES:
        response = client.post("/v1/score", content=sent)
        error = response.json()["error"]
        assert (response.status_code, error["code"], error.get("param")) == (status, code, param)
        assert isinstance(error["message"], str)
        assert error["type"] == "invalid_request_error"
        assert None not in error.values()
    too_long = client.post("/v1/score", json=body("a", "b" * 100)).json()["error"]["message"]
    assert "120 tokens" in too_long
    assert "limit is 60" in too_long


def test_a_body_of_unknown_length_is_bounded_too(serve: Serve) -> None:
    client = serve(fake_app(FakeForward(), max_body_bytes=1000))
    chunks = (b" " * 400 for _ in range(5))
    assert client.post("/v1/score", content=chunks).status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "allow"),
    [
        ("GET", "/v1/nothing", 404, "not_found", None),
        ("GET", "/v1/score", 405, "method_not_allowed", "POST"),
        ("PUT", "/v1/prefix", 405, "method_not_allowed", "POST"),
        ("OPTIONS", "/v1/score", 405, "method_not_allowed", "POST"),
        *(
            ("POST", path, 405, "method_not_allowed", "GET, HEAD")
            for path in ("/livez", "/readyz", "/health", "/version", "/metrics", "/v1/models")
        ),
    ],
)
def test_unknown_routes_get_an_error_object(
    serve: Serve, method: str, path: str, status: int, code: str, allow: str | None
) -> None:
    response = serve(fake_app(FakeForward())).request(method, path)
    assert response.status_code == status
    assert response.json()["error"]["code"] == code
    assert response.headers.get("allow") == allow


def test_what_answers_get_answers_head_and_a_slash_at_the_end(serve: Serve) -> None:
    client = serve(fake_app(FakeForward()))
    paths = ("/livez", "/readyz", "/health", "/version", "/metrics", "/v1/models", "/openapi.json")
    for path in paths:
        whole = client.get(path)
        assert whole.status_code == 200
        for asked in (path, path + "/"):
            head = client.head(asked)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-type"] == whole.headers["content-type"]
    assert client.head("/v1/score").status_code == 405
    assert client.get("/nothing/").status_code == 404
    assert client.get("/health").json() == client.get("/readyz").json()
    assert client.get("/version").json() == {"version": version("bon-gateway")}
    # One connection all the time: no answer to HEAD had a body that was read as the next answer.
    assert client.post("/v1/score/", json=body("a")).status_code == 200


def test_keys_are_asked_for_and_probes_are_open(serve: Serve) -> None:
    client = serve(fake_app(FakeForward(), keys="ann:one,bob:two"))
    for header in [None, "Bearer three", "Basic one", "one", "Bearer"]:
        headers = {} if header is None else {"authorization": header}
        for refused in [
            client.post("/v1/score", json=body("a"), headers=headers),
            client.get("/v1/models", headers=headers),
        ]:
            assert refused.status_code == 401
            assert refused.json()["error"]["code"] == "invalid_api_key"
            assert refused.headers["www-authenticate"] == "Bearer"
    headers = {"authorization": "Bearer two"}
    assert client.post("/v1/score", json=body("a"), headers=headers).status_code == 200
    assert client.get("/metrics").status_code == 200


def test_the_deadline_counts_from_arrival(serve: Serve) -> None:
    app = fake_app(FakeForward())
    client = serve(app)
    slow = json.dumps(body("a", deadline_ms=300)).encode()

    def chunks() -> Iterator[bytes]:
        yield slow[:20]
        time.sleep(0.4)
        yield slow[20:]

    answer = client.post("/v1/score", content=chunks())
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")


def test_before_the_model_is_loaded_requests_are_put_off() -> None:
    def never(*_: object) -> Any:
        raise AssertionError("not started")

    app = create_app(Settings(model="fake"), load=never)
    client = httpx.Client(transport=_InProcess(app), base_url="http://test")
    for response in (client.get("/readyz"), client.post("/v1/score", json=body("a"))):
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "model_loading"
        assert "retry-after" in response.headers
    assert client.get("/livez").status_code == 200


class _InProcess(httpx.BaseTransport):
    """Calls the app without its lifespan, so without a model."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        import asyncio

        async def call() -> httpx.Response:
            inner = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=inner, base_url="http://test") as client:
                response = await client.request(
                    request.method, request.url, content=request.content
                )
                return httpx.Response(
                    response.status_code, headers=response.headers, content=response.content
                )

        request.read()
        return asyncio.run(call())


def test_several_labels_are_all_returned(serve: Serve, three_labels: Path) -> None:
    weights = {"helpful": 0.7, "short": -0.3}
    client = serve(
        create_app(Settings(model=str(three_labels), device="cpu", label_weights=weights))
    )
    result = client.post("/v1/score", json=body("abc", "b")).json()["results"][0]
    labels = result["labels"]
    assert list(labels) == ["helpful", "safe", "short"]
    for i, reward in enumerate(result["rewards"]):
        assert reward == pytest.approx(0.7 * labels["helpful"][i] - 0.3 * labels["short"][i])
    page = client.get("/v1/models").json()["data"][0]
    assert page["labels"] == ["helpful", "safe", "short"]
    assert page["weights"] == [0.7, 0.0, -0.3]
    assert page["layout"] == "shared_prompt"


def test_unfinished_answers_are_rendered_as_the_model_was_trained(serve: Serve) -> None:
    seen: dict[str, str] = {}
    for turn in ("closed", "open"):
        forward = FakeForward()
        client = serve(fake_app(forward, partial_turn=turn))
        assert client.post("/v1/score", json=body("an ans", partial=True)).status_code == 200
        seen[turn] = "".join(map(chr, forward.batches[-1][0].ids))
        assert client.post("/v1/score", json=body("an ans")).status_code == 200
        assert "".join(map(chr, forward.batches[-1][0].ids)).endswith("<assistant:an ans>")
    assert seen == {
        "closed": "<user:q><assistant:an ans>",
        "open": "<user:q><assistant:an ans",
    }


def test_openapi_describes_the_wire_models(serve: Serve) -> None:
    document = serve(fake_app(FakeForward())).get("/openapi.json").json()
    item = document["components"]["schemas"]["ScoreItem"]["properties"]
    assert item.keys() == {"messages", "completions", "tools", "metadata"}
    assert {"type": "object"} in item["metadata"]["anyOf"]
    text = json.dumps(document)
    for name in ("ScoreRequest", "ScoreResponse", "ErrorResponse"):
        assert f'"#/components/schemas/{name}"' in text
        assert name in document["components"]["schemas"]


def test_half_a_request_harms_nobody(serve: Serve) -> None:
    client = serve(fake_app(FakeForward()))
    with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as raw:
        raw.sendall(b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
    wait_until(lambda: sample(client, 'reward_server_errors_total{code="client_left"}') == 1)
    assert client.post("/v1/score", json=body("a")).status_code == 200


@pytest.mark.parametrize("given", ["req#1/a?", "!", "~" * 128])
def test_a_request_id_of_the_gateway_is_kept(serve: Serve, given: str) -> None:
    client = serve(fake_app(FakeForward()))
    answer = client.get("/livez", headers={"x-request-id": given})
    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "\xe9", "x" * 129])
def test_another_request_id_is_replaced(serve: Serve, given: str) -> None:
    client = serve(fake_app(FakeForward()))
    answer = client.get("/livez", headers=[(b"x-request-id", given.encode("latin-1"))])
    assert answer.headers["x-request-id"] != given


def test_an_error_quotes_no_more_than_helps(serve: Serve) -> None:
    client = serve(fake_app(FakeForward()))
    long = "x" * 100_000
    for asked in (body("a", model=long), {"items": [{**body("a")["items"][0], long: 1}]}):
        answer = client.post("/v1/score", json=asked)
        assert answer.status_code in (400, 404)
        assert len(answer.content) < 2000
        assert "(100" in answer.json()["error"]["message"]
