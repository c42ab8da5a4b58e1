"""Common to the routes of all dialects: keys, limits, models, errors, metrics."""

from __future__ import annotations

from functools import partial
from typing import Any

import httpx
import jsonschema_rs
import pytest

from reward_server.http.app import create_app
from reward_server.http.dialects.routes import ROUTES
from reward_server.settings import Settings
from reward_server.testing import FakeForward, fake_scorer
from tests.openapi import resolved
from tests.reward_server.conftest import sample
from tests.reward_server.http.app_kit import Serve, fake_app
from tests.reward_server.http.dialects.kit import client_of

BODIES: dict[str, list[dict[str, Any]]] = {
    "/classify": [
        {"input": "a"},
        {"input": [1, 2]},
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
    ],
    "/pooling": [{"input": ["a", "b"]}],
    "/score": [{"text_1": "a", "text_2": ["b"]}],
    "/rerank": [{"query": "a", "documents": ["b"]}, {"query": "a", "texts": ["b"]}],
    "/v1/rerank": [{"query": "a", "documents": [{"text": "b"}]}],
    "/v2/rerank": [{"query": "a", "documents": ["b"]}],
    "/predict": [{"inputs": "a"}, {"inputs": [["a"], ["b", "c"]]}],
    "/get_reward": [{"query": ["a"]}],
}
ALL = [(path, body) for path, bodies in BODIES.items() for body in bodies]


def test_every_route_is_tried() -> None:
    assert BODIES.keys() == {route.path for route in ROUTES}


@pytest.mark.parametrize(("path", "body"), ALL)
def test_an_answer_is_as_described(client: httpx.Client, path: str, body: dict[str, Any]) -> None:
    spec = client.get("/openapi.json").json()
    operation = spec["paths"][path]["post"]
    taken = operation["requestBody"]["content"]["application/json"]["schema"]
    jsonschema_rs.validate(resolved(spec, taken), body)
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    told = operation["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema_rs.validate(resolved(spec, told), answer.json())


def test_a_key_is_needed(serve: Serve) -> None:
    client = serve(fake_app(FakeForward(), keys="one:secret-key-1"))
    headers = {"authorization": "Bearer secret-key-1"}
    for path, body in ALL:
        refused = client.post(path, json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
        assert client.post(path, json=body, headers=headers).status_code == 200


def test_limits_hold(serve: Serve) -> None:
    client = client_of(serve, max_body_bytes=200, max_json_values=20)
    for path in BODIES:
        assert client.post(path, content=b"x" * 201).json()["error"]["code"] == "request_too_large"
        many = client.post(path, content=b"[" + b",".join([b"1"] * 30) + b"]").json()
        assert "more than 20 values" in many["error"]["message"]


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'"a"', b"null"])
def test_what_is_no_body_is_refused(client: httpx.Client, path: str, body: bytes) -> None:
    answer = client.post(path, content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")


def test_more_than_the_queue_holds_is_refused(serve: Serve) -> None:
    client = client_of(serve, max_queue_sequences=3)
    error = client.post("/get_reward", json={"query": ["a", "b", "c", "d"]}).json()["error"]
    assert error["code"] == "too_many_sequences"


def test_one_of_several_models(serve: Serve) -> None:
    """The URL may name it, for clients that send no name."""
    settings = Settings(models={"x": {"model": "fake"}, "y": {"model": "fake"}})
    client = serve(create_app(settings, load=partial(fake_scorer, forward=FakeForward())))
    for path, body in ALL:
        assert client.post(path, json=body).json()["error"]["param"] == "model"
        assert client.post(f"{path}?model=none", json=body).status_code == 404
        assert client.post(f"{path}?model=y", json=body).status_code == 200
        if path in {"/classify", "/pooling", "/score", "/v1/rerank", "/v2/rerank"}:
            answer = client.post(f"{path}?model=none", json=body | {"model": "y"})
            assert answer.json()["model"] == "y"


def test_a_fault_of_the_model_is_named_in_the_clients_words(serve: Serve) -> None:
    client = serve(
        fake_app(FakeForward(lambda sequence: float("nan") if sequence.ids[0] == 97 else 1.0))
    )
    answer = client.post("/get_reward", json={"query": ["b", "a"]})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (500, "non_finite_reward")
    assert (error["param"], error["message"]) == (
        "query[1]",
        "the reward of query[1] is not finite",
    )


def test_requests_are_counted_by_path(serve: Serve) -> None:
    client = client_of(serve)
    client.post("/predict", json={"inputs": "a"})
    assert sample(client, 'reward_server_requests_total{path="/predict",status="200"}') == 1


def test_an_ensemble_answers_as_one_label(serve: Serve) -> None:
    member = {"mean": 0.0, "std": 2.0}
    settings = Settings(
        models={
            "x": {"model": "fake"},
            "y": {"model": "fake"},
            "both": {
                "type": "ensemble",
                "members": ["x", "y"],
                "normalisation": {"x": member, "y": member},
            },
        }
    )
    client = serve(create_app(settings, load=partial(fake_scorer, forward=FakeForward())))
    body = {"input": "aaaa", "model": "both", "use_activation": False}
    answer = client.post("/classify", json=body).json()
    assert answer["data"] == [{"index": 0, "label": "ensemble", "probs": [2.0], "num_classes": 1}]


def test_every_operation_has_a_name_of_its_own(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    names = [operation["operationId"] for path in paths.values() for operation in path.values()]
    assert len({*names}) == len(names)
