"""The gateway's routes except the chat completion. Each answers HEAD too; ``openapi`` describes
them."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

import bon_gateway
from bon_gateway.gateway import Gateway, ServedModel
from bon_gateway.protocols import RewardBackend


async def models(request: Request) -> Response:
    """The served models."""
    gateway: Gateway = request.app.state.gateway
    data = [_model_object(served, gateway.created) for served in gateway.models.values()]
    return JSONResponse({"object": "list", "data": data})


async def model(request: Request) -> Response:
    """One served model."""
    gateway: Gateway = request.app.state.gateway
    served = gateway.model(request.path_params["name"])
    return JSONResponse(_model_object(served, gateway.created))


async def rewards(request: Request) -> Response:
    """The rewards behind ``/v1/score``. ``/v1/models`` lists only chat models."""
    gateway: Gateway = request.app.state.gateway
    found = {**gateway.rewards, **gateway.composed_rewards}
    data = [_reward_object(name, one, gateway.created) for name, one in found.items()]
    return JSONResponse({"object": "list", "data": data})


async def livez(_: Request) -> Response:
    """Whether the process answers at all."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> Response:
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


async def version(_: Request) -> Response:
    """The gateway's version."""
    return JSONResponse({"version": bon_gateway.__version__})


async def metrics(request: Request) -> Response:
    """Prometheus metrics, summed over the workers."""
    body, content_type = request.app.state.metrics.render()
    return Response(body, media_type=content_type)


def routes() -> list[BaseRoute]:
    return [
        Route("/v1/models", models),
        Route("/v1/models/{name:path}", model),
        Route("/v1/rewards", rewards),
        Route("/livez", livez),
        Route("/readyz", readyz),
        # For probes that were written for vLLM, whose /health too is 200 while it wants requests.
        Route("/health", readyz),
        Route("/version", version),
        Route("/metrics", metrics),
    ]


def _reward_object(name: str, reward: RewardBackend, created: int) -> dict[str, Any]:
    return {
        "id": name,
        "object": "reward",
        "created": created,
        "owned_by": "bon-gateway",
        "bon": {"ready": reward.ready(), "compares": reward.compares},
    }


def _model_object(served: ServedModel, created: int) -> dict[str, Any]:
    settings = served.settings
    return {
        "id": served.name,
        "object": "model",
        "created": created,
        "owned_by": "bon-gateway",
        "bon": {
            "strategy": served.strategy.name,
            "n": settings.strategy.pool,
            "policy": settings.policy,
            "reward": settings.reward_name(served.name),
        },
    }
