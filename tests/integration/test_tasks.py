"""The app in this process, so that its asyncio tasks can be counted: whatever becomes of a request,
none of them outlives it."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest

import bon_common
import bon_gateway
from bon_gateway.app import create_app
from bon_gateway.settings.tree import Settings
from tests.integration.conftest import Engines
from tests.integration.gateway import leave
from tests.integration.patience import up_to_five_times
from tests.integration.prompts import LONG, ask
from tests.loop_server import serving_app
from tests.waiting import eventually

pytestmark = pytest.mark.vllm
PACKAGES = tuple(f"{package.__path__[0]}{os.sep}" for package in (bon_common, bon_gateway))


def tasks() -> Counter[str]:
    """Tasks that run our own code, by what they run."""
    found = Counter[str]()
    for task in asyncio.all_tasks():
        code = getattr(task.get_coro(), "cr_code", None)
        if code is not None and code.co_filename.startswith(PACKAGES):
            found[code.co_qualname] += 1
    return found


@asynccontextmanager
async def serving(engines: Engines) -> AsyncIterator[httpx.AsyncClient]:
    settings = engines.settings()
    settings["rewards"].pop("in_process")
    settings["models"] = {
        name: model for name, model in settings["models"].items() if "in_process" not in name
    }
    app = create_app(Settings.model_validate(settings), environ={})
    async with (
        serving_app(app) as url,
        httpx.AsyncClient(base_url=url, timeout=60, verify=False) as client,
    ):
        async with asyncio.timeout(30):
            while not await _all_up(client):
                await asyncio.sleep(0.05)
        yield client


async def _all_up(client: httpx.AsyncClient) -> bool:
    upstreams = (await client.get("/readyz")).json()["upstreams"]
    return set(upstreams.values()) == {"up"}


@up_to_five_times
async def test_no_task_outlives_its_request(engines: Engines) -> None:
    generator = engines.generator
    async with serving(engines) as client:

        async def chat(**body: Any) -> httpx.Response:
            return await client.post("/v1/chat/completions", json={"messages": ask(), **body})

        async def settled() -> Counter[str]:
            await eventually(lambda: generator.running == 0, 10, "vLLM is idle")
            for _ in range(100):
                if tasks() == at_rest:
                    break
                await asyncio.sleep(0.05)
            return tasks()

        at_rest = tasks()
        assert sum(at_rest.values()) >= 2
        for model in ("one", "reward_server-separate", "vllm_classify-together"):
            for stream in (False, True):
                before = generator.generated
                request = asyncio.create_task(chat(model=model, stream=stream, **LONG))
                await eventually(partial(generator.generates_since, before), 10, "it generates")
                during = tasks()
                await leave(request)
                assert sum(during.values()) > sum(at_rest.values())
                assert await settled() == at_rest
            cut = await chat(model=model, **LONG, bon={"deadline_ms": 150})
            assert cut.status_code == 504
            assert await settled() == at_rest
            refused = await chat(model=model, top_k=-5)
            assert refused.status_code == 400
            whole = await chat(model=model)
            assert whole.status_code == 200
            assert await settled() == at_rest
    assert tasks() == Counter()
