"""The whole app over fakes, behind a real uvicorn on a free loopback port."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
import pytest

from bon_gateway.app import create_app
from bon_gateway.gateway import Gateway, ServedModel
from bon_gateway.metrics import Metrics
from bon_gateway.settings.tree import Settings
from bon_gateway.strategies.referee import Referee
from bon_gateway.testing.fakes import FakeHistory, FakePolicy, FakeReward
from tests.loop_server import serving_app

MODELS = {
    "best": {"policy": "p", "reward": "r", "strategy": {"type": "best_of_n", "n": 4}},
    "first": {"policy": "p", "reward": "r", "strategy": {"type": "first_k", "n": 2, "spare": 1}},
    "one": {"policy": "p", "strategy": {"type": "single"}},
    "fixed": {
        "policy": "p",
        "reward": "r",
        "strategy": {"type": "best_of_n", "n": 2},
        "allow_override": False,
    },
}


@dataclass
class Served:
    """A running gateway, and the fakes behind it."""

    url: str
    policy: FakePolicy
    reward: FakeReward
    metrics: Metrics
    http: httpx.AsyncClient
    openai: openai.AsyncOpenAI

    async def chat(self, **body: Any) -> httpx.Response:
        body = {"model": "best", "messages": [{"role": "user", "content": "hi"}], **body}
        return await self.http.post("/v1/chat/completions", json=body)

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


Serve = Callable[..., Awaitable[Served]]


@dataclass
class Setup:
    policy: FakePolicy = field(default_factory=FakePolicy)
    reward: FakeReward = field(default_factory=FakeReward)
    history: FakeHistory | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)


def make_settings(extra: dict[str, Any]) -> Settings:
    return Settings.model_validate(
        {
            "policies": {"p": {"type": "vllm", "urls": ["http://127.0.0.1:1"]}},
            "rewards": {"r": {"type": "reward_server", "urls": ["http://127.0.0.1:1"]}},
            "models": MODELS,
            **extra,
        }
    )


@asynccontextmanager
async def serving(setup: Setup) -> AsyncIterator[Served]:
    settings = make_settings(setup.settings)

    def build(settings: Settings, metrics: Metrics) -> Gateway:
        referee = Referee(settings.limits.schema_check_ms / 1000)
        models = {
            name: ServedModel(
                name,
                setup.policy,
                setup.reward if served.reward else None,
                served.strategy.build(referee),
                served,
                setup.history,
            )
            for name, served in settings.models.items()
        }
        return Gateway({"p": setup.policy}, {"r": setup.reward}, models, referee)

    app = create_app(settings, environ=setup.environ, build=build)
    async with (
        serving_app(app) as url,
        # Without TLS, whose certificates take longer to load than a test to run.
        httpx.AsyncClient(base_url=url, timeout=20, verify=False) as http,
        openai.AsyncOpenAI(
            base_url=f"{url}/v1",
            api_key="none",
            max_retries=0,
            http_client=openai.DefaultAsyncHttpxClient(timeout=20, verify=False),
        ) as client,
    ):
        yield Served(url, setup.policy, setup.reward, app.state.metrics, http, client)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def start(**setup: Any) -> Served:
            return await stack.enter_async_context(serving(Setup(**setup)))

        yield start
