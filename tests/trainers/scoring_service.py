"""Apps that answer ``POST /v1/score``, in a thread of their own: a test's own thread trains."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from starlette.types import ASGIApp

from bon_gateway.app import create_app as gateway_app
from bon_gateway.settings.tree import Settings as GatewaySettings
from reward_server.http.app import create_app as reward_app
from reward_server.settings import Settings as RewardServerSettings
from tests.loop_server import serving_app
from tests.waiting import wait_until

Start = Callable[[ASGIApp], str]


@contextmanager
def in_thread() -> Iterator[Start]:
    """A function that serves an app and waits until it is ready. Yields the address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    stack = AsyncExitStack()

    def start(app: ASGIApp) -> str:
        entering = stack.enter_async_context(serving_app(app))
        url = asyncio.run_coroutine_threadsafe(entering, loop).result(30)
        wait_until(lambda: _ready(url))
        return url

    try:
        yield start
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def _ready(url: str) -> bool:
    """A gateway tells of each reward; the policies of these tests' gateways are never up."""
    rewards = httpx.get(f"{url}/v1/rewards")
    if rewards.status_code == 200:
        return all(one["bon"]["ready"] for one in rewards.json()["data"])
    return httpx.get(f"{url}/readyz").status_code == 200


def reward_server(folder: Path) -> ASGIApp:
    return reward_app(RewardServerSettings(model=str(folder), device="cpu"))


def gateway(rewards: dict[str, Any]) -> ASGIApp:
    """A gateway with these rewards, and a policy that gets no requests."""
    values = {
        "policies": {"p": {"type": "vllm", "urls": ["http://127.0.0.1:1"]}},
        "models": {"m": {"policy": "p", "strategy": {"type": "single"}}},
        "rewards": rewards,
    }
    return gateway_app(GatewaySettings.model_validate(values), environ={})
