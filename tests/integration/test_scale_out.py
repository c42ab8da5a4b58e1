"""A gateway process over two replicas, of which one drains and then goes: no request fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bon_gateway.testing.upstream import FakeUpstream
from tests.integration.exposition import get
from tests.integration.gateway import Gateway
from tests.integration.prompts import ask
from tests.waiting import eventually

StartGateway = Callable[[dict[str, Any]], Gateway]


@asynccontextmanager
async def asking(gateway: Gateway) -> AsyncIterator[list[int]]:
    """The status of each request, one after the other, while the body runs."""
    statuses: list[int] = []

    async def ask_on() -> None:
        while True:
            answer = await gateway.chat(model="m", messages=ask())
            statuses.append(answer.status_code)

    task = asyncio.create_task(ask_on())
    try:
        yield statuses
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def settings(*urls: str) -> dict[str, Any]:
    policy = {"type": "vllm", "resolve": "addresses", "probe_interval_s": 0.2}
    return {
        "policies": {"p": {**policy, "urls": list(urls), "session_header": "x-session"}},
        "rewards": {"r": {"type": "reward_server", "urls": [urls[1]]}},
        "models": {
            "m": {"policy": "p", "reward": "r", "strategy": {"type": "best_of_n", "n": 4}},
        },
    }


@pytest.mark.timeout(180)
async def test_a_replica_that_drains_and_goes_costs_no_request(start_gateway: StartGateway) -> None:
    async with FakeUpstream() as first, FakeUpstream() as second:
        # The first is short for the address that it leads to, so that it has to be looked up.
        urls = (f"http://127.1:{first.port}", second.url)
        gateway = await asyncio.to_thread(start_gateway, settings(*urls))
        upstream = f"policies.p.127.0.0.1:{first.port}"

        def state() -> str:
            states: dict[str, str] = get(f"{gateway.url}/readyz").json()["upstreams"]
            return states[upstream]

        def replicas(state: str) -> float:
            return gateway.metric("bon_replicas", backend="policies.p", state=state)

        async with asking(gateway) as statuses:
            await eventually(lambda: first.requests > 4 and second.requests > 8, 20, "both work")
            first.healthy = False
            await eventually(lambda: state() == "unready", 20, "it is set aside")
            asked, done = first.requests, len(statuses)
            await eventually(lambda: len(statuses) >= done + 5, 20, "the other goes on")
            assert first.requests == asked
            await first.stop()
            await eventually(lambda: replicas("unready") == replicas("up") == 1, 20, "it is shown")
            await first.start()
            first.healthy = True
            await eventually(lambda: first.requests > asked + 4, 20, "it works again")
        assert set(statuses) == {200}
        for fake, host in ((first, "127.1"), (second, "127.0.0.1")):
            calls = [call for call in fake.calls if "x-session" in call.headers]
            assert calls
            for call in calls:
                assert call.headers["x-request-id"] == f"{call.headers['x-session']}-0"
                assert call.headers["host"] == f"{host}:{fake.port}"
