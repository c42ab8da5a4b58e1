"""The OpenAPI description of the service, from its wire models."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from reward_server.schema import (
    ErrorResponse,
    PrefixRequest,
    PrefixResponse,
    ScoreRequest,
    ScoreResponse,
)

WIRE = (ScoreRequest, ScoreResponse, PrefixRequest, PrefixResponse, ErrorResponse)


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
            "default": {"description": "An error.", **_content(ErrorResponse)},
        },
    }


SCORE_ROUTE = _route(ScoreRequest, ScoreResponse, "Rewards, in the order given.")
PREFIX_ROUTE = _route(PrefixRequest, PrefixResponse, "The prompt has been computed.")


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the document with every wire model among its components."""
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    _, components = msgspec.json.schema_components(WIRE, ref_template="#/components/schemas/{name}")
    document.setdefault("components", {}).setdefault("schemas", {}).update(components)
    return document
