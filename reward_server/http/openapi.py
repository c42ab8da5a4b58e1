"""The OpenAPI description of the service, from its wire models."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from bon_common.http.refusal import DOCUMENTED
from reward_server.schema import (
    ErrorResponse,
    PrefixRequest,
    PrefixResponse,
    ScoreRequest,
    ScoreResponse,
)

WIRE = (ScoreRequest, ScoreResponse, PrefixRequest, PrefixResponse, ErrorResponse)

WITH_KEY = {"401": "No valid API key."}
OF_SCORING = {
    "404": "No such model.",
    "413": "The body is too large.",
    "500": "The model failed.",
    "504": "The request's deadline passed.",
}


def _content(model: type[msgspec.Struct]) -> dict[str, Any]:
    return {
        "content": {
            "application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}
        }
    }


def _route(asked: type[msgspec.Struct], answer: type[msgspec.Struct], what: str) -> dict[str, Any]:
    """What FastAPI cannot see of a route whose body it does not parse."""
    return {
        "requestBody": {"required": True, **_content(asked)},
        "responses": {
            "200": {"description": what, **_content(answer)},
            **_errors(WITH_KEY | OF_SCORING),
        },
    }


def _errors(statuses: dict[str, str]) -> dict[str, Any]:
    return {status: {"description": w, **_content(ErrorResponse)} for status, w in statuses.items()}


SCORE_ROUTE = _route(ScoreRequest, ScoreResponse, "Rewards, in the order given.")
PREFIX_ROUTE = _route(PrefixRequest, PrefixResponse, "The prompt has been computed.")


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the document with every wire model among its components."""
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    _, components = msgspec.json.schema_components(WIRE, ref_template="#/components/schemas/{name}")
    document.setdefault("components", {}).setdefault("schemas", {}).update(components)
    paths = document["paths"]
    for path in paths.values():
        for operation in path.values():
            operation["responses"] = {**_errors(DOCUMENTED), **operation["responses"]}
    paths["/v1/models"]["get"]["responses"] |= _errors(WITH_KEY)
    paths["/metrics"]["get"]["responses"]["200"]["content"] = {
        "text/plain": {"schema": {"type": "string"}}
    }
    return document
