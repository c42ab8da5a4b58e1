"""The OpenAPI description of the service, from its wire models."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from bon_common.http.refusal import DOCUMENTED
from reward_server.http.dialects.routes import ROUTES, DialectRoute
from reward_server.schema import (
    ErrorResponse,
    PrefixRequest,
    PrefixResponse,
    ScoreRequest,
    ScoreResponse,
)

REFERENCE = "#/components/schemas/{name}"
WIRE = (ScoreRequest, ScoreResponse, PrefixRequest, PrefixResponse, ErrorResponse)
SPOKEN = tuple(kind for route in ROUTES for kind in (*route.bodies, route.answer))
"""The wire models of the dialects."""

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


def dialect_route(route: DialectRoute) -> dict[str, Any]:
    """The same for another server's route."""
    bodies, _ = msgspec.json.schema_components(route.bodies, ref_template=REFERENCE)
    (answer,), _ = msgspec.json.schema_components([route.answer], ref_template=REFERENCE)
    body = bodies[0] if len(bodies) == 1 else {"anyOf": [*bodies]}
    model = {"name": "model", "in": "query", "required": False, "schema": {"type": "string"}}
    told = {"description": "Scores.", "content": {"application/json": {"schema": answer}}}
    return {
        "parameters": [{**model, "description": "The served name, if the body names none."}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"200": told, **_errors(WITH_KEY | OF_SCORING)},
    }


def _errors(statuses: dict[str, str]) -> dict[str, Any]:
    return {status: {"description": w, **_content(ErrorResponse)} for status, w in statuses.items()}


SCORE_ROUTE = _route(ScoreRequest, ScoreResponse, "Rewards, in the order given.")
PREFIX_ROUTE = _route(PrefixRequest, PrefixResponse, "The prompt has been computed.")


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the document with every wire model among its components."""
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    _, components = msgspec.json.schema_components((*WIRE, *SPOKEN), ref_template=REFERENCE)
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
