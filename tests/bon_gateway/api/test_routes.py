"""The paths beside the chat completion, in the forms that clients and probes ask for them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

import bon_gateway
from tests.bon_gateway.api.conftest import Serve

GETS = ("/v1/models", "/v1/models/best", "/livez", "/readyz", "/health", "/version", "/metrics")
HI = {"model": "best", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize("path", [*GETS, "/openapi.json"])
async def test_head_is_get_without_its_body(serve: Serve, path: str) -> None:
    served = await serve()
    got, head = await served.http.get(path), await served.http.head(path)
    assert got.status_code == head.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize("path", [*GETS, "/openapi.json"])
async def test_405_says_what_the_path_takes(serve: Serve, path: str) -> None:
    served = await serve()
    for method in ("POST", "DELETE", "OPTIONS"):
        answer = await served.http.request(method, path)
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, HEAD"
    for method in ("GET", "HEAD", "PUT", "OPTIONS"):
        answer = await served.http.request(method, "/v1/chat/completions")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", GETS)
async def test_a_slash_at_the_end_changes_nothing(serve: Serve, path: str) -> None:
    served = await serve()
    answer = await served.http.get(f"{path}/")
    assert answer.status_code == 200
    assert answer.history == []


async def test_a_chat_with_a_slash_at_the_end_is_answered_and_counted(serve: Serve) -> None:
    served = await serve()
    answer = await served.http.post("/v1/chat/completions/", json=HI)
    assert answer.status_code == 200
    labels = {"model": "best", "strategy": "best_of_n", "status": "200"}
    assert served.metric("bon_requests_total", **labels) == 1


async def test_a_slash_lets_nobody_past_the_key(serve: Serve) -> None:
    served = await serve(environ={"BON_GATEWAY_API_KEYS": "a:key-a-0123456789"})
    for path in ("/v1/models/", "/v1/models", "/v1/models/best/"):
        assert (await served.http.get(path)).status_code == 401
    assert (await served.http.post("/v1/chat/completions/", json=HI)).status_code == 401


async def test_health_follows_readiness(serve: Serve) -> None:
    served = await serve()
    assert (await served.http.get("/health")).status_code == 200
    served.policy.is_ready = False
    answer = await served.http.get("/health")
    assert answer.status_code == (await served.http.get("/readyz")).status_code == 503


async def test_version(serve: Serve) -> None:
    served = await serve()
    assert (await served.http.get("/version")).json() == {"version": bon_gateway.__version__}


async def test_a_model_by_name_and_one_that_is_not_served(serve: Serve) -> None:
    served = await serve()
    assert (await served.http.get("/v1/models/best")).json()["id"] == "best"
    missing = await served.http.get("/v1/models/none")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("path", ["//", "/v1/models//", "/v1//models", "/"])
async def test_other_slashes_are_other_paths(serve: Serve, path: str) -> None:
    served = await serve()
    url = httpx.URL(served.url).copy_with(raw_path=path.encode())
    assert (await served.http.get(url)).status_code == 404


LONG = "x" * 100_000


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", HI | {"model": LONG}),
        ("/v1/chat/completions", HI | {"bon": {LONG: 1}}),
        ("/v1/chat/completions", HI | {"tool_choice": LONG}),
        ("/v1/score", {"items": [{"messages": [], "completions": ["a"], LONG: 1}]}),
    ],
)
async def test_an_error_quotes_no_more_than_helps(
    serve: Serve, path: str, body: dict[str, Any]
) -> None:
    served = await serve()
    answer = await served.http.post(path, json=body)
    assert 400 <= answer.status_code < 500
    assert len(answer.content) < 2000
