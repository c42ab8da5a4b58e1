"""``/openapi.json`` tells what the server takes and answers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import jsonschema_rs
import pytest
from fastapi import FastAPI

from reward_server.http.app import create_app
from reward_server.settings import Settings
from reward_server.testing import FakeForward, fake_scorer
from tests.openapi import resolved

Serve = Callable[[FastAPI], httpx.Client]
ASK = [{"role": "user", "content": "q"}]
SCORE = {"items": [{"messages": ASK, "completions": ["a", {"content": [{"text": "b"}]}]}]}


@pytest.fixture
def client(serve: Serve) -> httpx.Client:
    return serve(
        create_app(Settings(model="fake"), load=partial(fake_scorer, forward=FakeForward()))
    )


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("get", "/livez", None, 200),
        ("get", "/readyz", None, 200),
        ("get", "/metrics", None, 200),
        ("get", "/v1/models", None, 200),
        ("post", "/v1/score", SCORE, 200),
        ("post", "/v1/score", SCORE | {"model": "none"}, 404),
        ("post", "/v1/score", {"items": []}, 400),
        ("post", "/v1/prefix", {"messages": ASK}, 200),
    ],
)
def test_an_answer_is_as_described(
    client: httpx.Client, method: str, path: str, body: Any, status: int
) -> None:
    answer = client.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    responses = client.get("/openapi.json").json()
    content = responses["paths"][path][method]["responses"][str(status)]["content"]
    media_type = answer.headers["content-type"].partition(";")[0]
    told = answer.json() if media_type == "application/json" else answer.text
    jsonschema_rs.validate(resolved(responses, content[media_type]["schema"]), told)


def test_every_status_is_described(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    everywhere = {"200", "400", "405", "408", "431", "503"}
    for path in ("/livez", "/readyz", "/metrics"):
        assert everywhere <= paths[path]["get"]["responses"].keys()
    assert everywhere | {"401"} <= paths["/v1/models"]["get"]["responses"].keys()
    for path in ("/v1/score", "/v1/prefix"):
        described = paths[path]["post"]["responses"].keys()
        assert everywhere | {"401", "404", "413", "500", "504"} <= described


@pytest.mark.parametrize(
    ("item", "fits"),
    [
        (SCORE["items"][0], True),
        ({"messages": ASK, "completions": [{"role": "assistant", "content": None}]}, True),
        ({"messages": [], "completions": ["a"]}, False),
        ({"messages": ASK, "completions": []}, False),
        ({"messages": [{"content": "q"}], "completions": ["a"]}, False),
        ({"messages": ASK, "completions": [{"role": "user"}]}, False),
        ({"messages": [{"role": "user", "content": 5}], "completions": ["a"]}, False),
    ],
)
def test_what_can_be_scored_is_described(client: httpx.Client, item: Any, fits: bool) -> None:
    """The document and the server agree on what a message is."""
    spec = client.get("/openapi.json").json()
    schema = resolved(spec, spec["components"]["schemas"]["ScoreRequest"])
    body = {"items": [item]}
    assert jsonschema_rs.is_valid(schema, body) == fits
    assert (client.post("/v1/score", json=body).status_code == 200) == fits
