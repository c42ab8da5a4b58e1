"""``/openapi.json``: every path with the statuses that it may answer.

It is written by hand, because nothing could be derived from the routes: they are plain functions of
a request.
"""

from __future__ import annotations

from typing import Any

import msgspec

from bon_common.http.refusal import DOCUMENTED
from bon_gateway.api.schema import ChatWire
from bon_gateway.api.score_wire import ScoreAnswer, ScoreAsked

_TEXT = {"type": "string"}
_INTEGER = {"type": "integer"}
_ANY_OBJECT = {"type": "object"}
_ANY_OBJECTS = {"type": "array", "items": _ANY_OBJECT}


def _object(*optional: str, **properties: Any) -> dict[str, Any]:
    """The schema of an object with these properties; all but the ``optional`` ones are required."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties}


_ERROR = _object(error=_object("param", message=_TEXT, type=_TEXT, param=_TEXT, code=_TEXT))
_MODEL = _object(
    "bon", id=_TEXT, object={"const": "model"}, created=_INTEGER, owned_by=_TEXT, bon=_ANY_OBJECT
)
_MODELS = _object(
    object={"const": "list"},
    data={"type": "array", "items": {"$ref": "#/components/schemas/Model"}},
)
_REWARDS = _object(
    object={"const": "list"},
    data={
        "type": "array",
        "items": _object(
            id=_TEXT, object={"const": "reward"}, created=_INTEGER, owned_by=_TEXT, bon=_ANY_OBJECT
        ),
    },
)
_STATUS = _object(status=_TEXT)
_VERSION = _object(version=_TEXT)
_HEAD = {"id": _TEXT, "created": _INTEGER, "model": _TEXT, "choices": _ANY_OBJECTS}
_COMPLETION = _object(
    **_HEAD, object={"const": "chat.completion"}, usage=_ANY_OBJECT, bon=_ANY_OBJECT
)
_CHUNK = _object(
    *("usage", "bon"),
    **_HEAD,
    object={"const": "chat.completion.chunk"},
    usage={"type": ["object", "null"]},
    bon=_ANY_OBJECT,
)
_EVENT = {
    "type": "object",
    "description": "One event: a chunk or an error, as JSON in text, and `[DONE]` after the last",
    "required": ["data"],
    "properties": {"data": _TEXT | {"examples": ["[DONE]"]}},
}
"""Before OpenAPI 3.2 the schema of a stream is the schema of each event."""

_WITH_KEY = {"401": "No valid API key"}
_OF_CHAT = {
    "400": "The request is not valid; `param` names the parameter at fault",
    "404": "No such served model",
    "413": "The body is too large",
    "415": "The body is not declared as JSON",
    "422": "The reward model cannot read this conversation, and the fallback is `error`",
    "429": "This key has its share of candidates in flight",
    "4XX": "The policy refused the request, with its own status and words",
    "500": "A fault of the gateway",
    "502": "Every candidate failed or is invalid",
    "503": "Full, stopping, or an upstream is down",
    "504": "The deadline passed, or an upstream took too long",
}

_OF_SCORING = {
    "400": "The request is not valid; `param` names the parameter at fault",
    "404": "No such reward",
    "413": "The body is too large",
    "415": "The body is not declared as JSON",
    "422": "An answer that `param` names has no reward: refused, or a judge abstained",
    "429": "This key has its share in flight, or has spent its budget",
    "500": "A fault of the gateway",
    "503": "Full, stopping, or the reward is down",
    "504": "The deadline passed",
}


def describe(document: dict[str, Any]) -> dict[str, Any]:
    """``document``, the framework's frame of title and version, filled with the gateway's paths."""
    document["components"] = {
        "schemas": {
            "ChatCompletionRequest": chat_request_schema(),
            "ChatCompletion": _COMPLETION,
            "ChatCompletionChunk": _CHUNK,
            "Event": _EVENT,
            "Error": _ERROR,
            "Model": _MODEL,
            "Models": _MODELS,
            "Rewards": _REWARDS,
            **_score_schemas(),
        },
        "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
    }
    model = _get("One served model", "model", "Model", key=True)
    model["parameters"] = [{"name": "name", "in": "path", "required": True, "schema": _TEXT}]
    model["responses"] |= _errors({"404": "No such served model"})
    metrics = _get("Prometheus metrics", "metrics", _TEXT)
    metrics["responses"]["200"]["content"] = {"text/plain": {"schema": _TEXT}}
    document["paths"] = {
        "/v1/chat/completions": {"post": _chat()},
        "/v1/models": {"get": _get("The served models", "models", "Models", key=True)},
        "/v1/models/{name}": {"get": model},
        "/v1/score": {"post": _score()},
        "/v1/rewards": {"get": _get("Rewards that score answers", "rewards", "Rewards", key=True)},
        "/livez": {"get": _get("Whether the process answers at all", "livez", _STATUS)},
        "/readyz": {"get": _ready("readyz")},
        "/health": {"get": _ready("health")},
        "/version": {"get": _get("The gateway's version", "version", _VERSION)},
        "/metrics": {"get": metrics},
    }
    return document


def chat_request_schema() -> dict[str, Any]:
    """The JSON schema of ``ChatWire`` with its references inlined: in another document they would
    lead nowhere."""
    schema = ChatWire.model_json_schema()
    definitions = schema.pop("$defs")
    inlined: dict[str, Any] = _inline(schema, definitions)
    return inlined


def _chat() -> dict[str, Any]:
    completion = {"schema": _schema("ChatCompletion")}
    return {
        "summary": "Draw, score and answer with the best",
        "operationId": "chat_completions",
        "security": [{"key": []}, {}],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _schema("ChatCompletionRequest")}},
        },
        "responses": {
            "200": {
                "description": "The chat completion, or its events if `stream` is true",
                "content": {
                    "application/json": completion,
                    "text/event-stream": {"schema": _schema("Event")},
                },
            },
            **_errors(DOCUMENTED | _WITH_KEY | _OF_CHAT),
        },
    }


def _score() -> dict[str, Any]:
    return {
        "summary": "Score answers that the client brings: raw rewards, in the order given",
        "operationId": "score",
        "security": [{"key": []}, {}],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _schema("ScoreAsked")}},
        },
        "responses": {
            "200": _json("Rewards, in the order given", "ScoreAnswer"),
            **_errors(DOCUMENTED | _WITH_KEY | _OF_SCORING),
        },
    }


def _score_schemas() -> dict[str, Any]:
    wire = (ScoreAsked, ScoreAnswer)
    return msgspec.json.schema_components(wire, ref_template="#/components/schemas/{name}")[1]


def _ready(operation_id: str) -> dict[str, Any]:
    operation = _get("Whether requests should be sent here", operation_id, _STATUS)
    # The error is the answer if there was no room for the connection.
    operation["responses"]["503"] = _json("Not now", {"anyOf": [_STATUS, _schema("Error")]})
    return operation


def _get(
    summary: str, operation_id: str, schema: str | dict[str, Any], *, key: bool = False
) -> dict[str, Any]:
    errors = DOCUMENTED | _WITH_KEY if key else DOCUMENTED
    operation: dict[str, Any] = {
        "summary": summary,
        "operationId": operation_id,
        "responses": {"200": _json(summary, schema), **_errors(errors)},
    }
    if key:
        operation["security"] = [{"key": []}, {}]
    return operation


def _errors(statuses: dict[str, str]) -> dict[str, Any]:
    return {status: _json(words, "Error") for status, words in statuses.items()}


def _json(words: str, schema: str | dict[str, Any]) -> dict[str, Any]:
    return {"description": words, "content": {"application/json": {"schema": _schema(schema)}}}


def _schema(schema: str | dict[str, Any]) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{schema}"} if isinstance(schema, str) else schema


def _inline(node: Any, definitions: dict[str, Any]) -> Any:
    match node:
        case {"$ref": str(name)}:
            return _inline(definitions[name.rpartition("/")[2]], definitions)
        case dict():
            return {key: _inline(value, definitions) for key, value in node.items()}
        case list():
            return [_inline(value, definitions) for value in node]
    return node
