"""``/openapi.json`` tells what the gateway takes and answers."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest

from bon_gateway.testing.fakes import FakePolicy
from tests.bon_gateway.api.conftest import Serve, Served
from tests.openapi import resolved

HI = {"model": "best", "messages": [{"role": "user", "content": "hi"}]}

TO_SCORE = {"items": [{"messages": HI["messages"], "completions": ["answer 1", "answer 2"]}]}


async def document(served: Served) -> Any:
    return (await served.http.get("/openapi.json")).json()


def schema_of(spec: Any, path: str, method: str, status: int, media_type: str) -> Any:
    responses = spec["paths"][path][method]["responses"]
    return resolved(spec, responses[str(status)]["content"][media_type]["schema"])


async def test_it_describes_the_request(serve: Serve) -> None:
    spec = await document(await serve())
    post = spec["paths"]["/v1/chat/completions"]["post"]
    schema = resolved(spec, post["requestBody"]["content"]["application/json"]["schema"])
    assert {"bon", "messages", "tools", "tool_choice"} <= schema["properties"].keys()
    assert "$defs" not in str(schema)
    jsonschema_rs.validate(schema, HI)
    assert not jsonschema_rs.is_valid(schema, HI | {"messages": []})


@pytest.mark.parametrize(
    ("method", "path", "template", "status"),
    [
        ("get", "/v1/models", "/v1/models", 200),
        ("get", "/v1/models/best", "/v1/models/{name}", 200),
        ("get", "/v1/models/none", "/v1/models/{name}", 404),
        ("get", "/v1/rewards", "/v1/rewards", 200),
        ("post", "/v1/score", "/v1/score", 200),
        ("get", "/livez", "/livez", 200),
        ("get", "/readyz", "/readyz", 200),
        ("get", "/health", "/health", 200),
        ("get", "/version", "/version", 200),
        ("get", "/metrics", "/metrics", 200),
        ("post", "/v1/chat/completions", "/v1/chat/completions", 200),
    ],
)
async def test_an_answer_is_as_described(
    serve: Serve, method: str, path: str, template: str, status: int
) -> None:
    served = await serve()
    body = TO_SCORE if path == "/v1/score" else HI
    answer = await served.http.request(method, path, json=body if method == "post" else None)
    assert answer.status_code == status
    media_type = answer.headers["content-type"].partition(";")[0]
    schema = schema_of(await document(served), template, method, status, media_type)
    told = answer.json() if media_type == "application/json" else answer.text
    jsonschema_rs.validate(schema, told)


async def test_a_stream_is_described(serve: Serve) -> None:
    served = await serve()
    spec = await document(served)
    event = schema_of(spec, "/v1/chat/completions", "post", 200, "text/event-stream")
    chunk = spec["components"]["schemas"]["ChatCompletionChunk"]
    answer = await served.chat(stream=True, stream_options={"include_usage": True})
    *chunks, done = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    assert done == "[DONE]"
    for data in (*chunks, done):
        jsonschema_rs.validate(event, {"data": data})
    for data in chunks:
        jsonschema_rs.validate(chunk, json.loads(data))


async def test_not_ready_is_described(serve: Serve) -> None:
    served = await serve(policy=FakePolicy(is_ready=False))
    for path in ("/readyz", "/health"):
        answer = await served.http.get(path)
        assert answer.status_code == 503
        schema = schema_of(await document(served), path, "get", 503, "application/json")
        jsonschema_rs.validate(schema, answer.json())


async def test_every_status_of_the_chat_route_is_described(serve: Serve) -> None:
    spec = await document(await serve())
    described = spec["paths"]["/v1/chat/completions"]["post"]["responses"]
    for status in (200, 400, 401, 404, 405, 408, 413, 415, 429, 431, 500, 502, 503, 504):
        assert str(status) in described
    assert "4XX" in described
