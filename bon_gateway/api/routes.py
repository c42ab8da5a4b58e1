"""The gateway's routes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from bon_gateway.gateway import Gateway, ServedModel

router = APIRouter()


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """The served models."""
    gateway: Gateway = request.app.state.gateway
    data = [_model_object(served, gateway.created) for served in gateway.models.values()]
    return {"object": "list", "data": data}


@router.get("/v1/models/{name:path}")
async def model(request: Request, name: str) -> dict[str, Any]:
    """One served model."""
    gateway: Gateway = request.app.state.gateway
    return _model_object(gateway.model(name), gateway.created)


@router.get("/livez")
async def livez() -> dict[str, str]:
    """Whether the process answers at all."""
    return {"status": "ok"}


@router.get("/readyz")
async def readyz(request: Request) -> JSONResponse:
    """Whether requests should be sent here: warmed up, an upstream is there, not draining."""
    state = request.app.state
    ready = state.lifecycle.serving and state.gateway.ready()
    status = "draining" if state.lifecycle.draining else "ready" if ready else "not ready"
    body = {
        "status": status,
        "upstreams": state.gateway.health(),
        "reasons": state.gateway.troubles(),
    }
    return JSONResponse(body, status_code=200 if ready else 503)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Prometheus metrics, summed over the workers."""
    body, content_type = request.app.state.metrics.render()
    return Response(body, media_type=content_type)


def _model_object(served: ServedModel, created: int) -> dict[str, Any]:
    settings = served.settings
    return {
        "id": served.name,
        "object": "model",
        "created": created,
        "owned_by": "bon-gateway",
        "bon": {
            "strategy": served.strategy.name,
            "n": settings.strategy.n,
            "policy": settings.policy,
            "reward": settings.reward,
        },
    }
