"""What a client gets when a candidate, all of them or the reward model fail, and that nothing of
it stays behind: the engine is real, a proxy before it spoils single candidates."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.integration.conftest import Engines
from tests.integration.engines import start_reward_server
from tests.integration.gateway import Gateway, leave
from tests.integration.processes import Processes
from tests.integration.prompts import LONG, ask
from tests.integration.proxy import SpoilingProxy
from tests.ports import free_port
from tests.waiting import eventually

pytestmark = [pytest.mark.vllm, pytest.mark.asyncio(loop_scope="module")]
StartGateway = Callable[[dict[str, Any]], Gateway]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def proxy(engines: Engines) -> AsyncIterator[SpoilingProxy]:
    proxy = SpoilingProxy(engines.generator.url, free_port())
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def behind_proxy(
    engines: Engines, proxy: SpoilingProxy, start_gateway: StartGateway
) -> AsyncIterator[Gateway]:
    """No connection of it may be left once all its tests have done their worst."""
    settings = engines.settings()
    del settings["rewards"]["in_process"]
    settings["policies"] = {
        # The whole replica is not what fails here.
        name: {**policy, "urls": [proxy.url], "failures_to_eject": 1000}
        for name, policy in settings["policies"].items()
    }
    settings["models"] = {
        name: model for name, model in settings["models"].items() if "in_process" not in name
    }
    gateway = await asyncio.to_thread(start_gateway, settings)
    yield gateway
    await asyncio.to_thread(gateway.wait_idle, proxy.port, *engines.ports)


@pytest_asyncio.fixture(loop_scope="module")
async def spoilt(
    engines: Engines, proxy: SpoilingProxy, behind_proxy: Gateway
) -> AsyncIterator[SpoilingProxy]:
    """Afterwards nothing is in flight anywhere, and the next request is answered as ever."""
    proxy.faults, proxy.once, proxy.spoilt = {}, False, []
    yield proxy
    proxy.faults = {}
    await asyncio.to_thread(behind_proxy.wait_done)
    assert proxy.in_progress == 0
    assert engines.generator.running == 0
    assert behind_proxy.ready
    answer = await ask_eight(behind_proxy)
    assert (answer.status_code, answer.json()["bon"]["degraded"]) == (200, None)


async def ask_eight(gateway: Gateway, fan_out: str = "separate", **bon: Any) -> httpx.Response:
    return await gateway.chat(
        model=f"reward_server-{fan_out}",
        messages=ask(),
        seed=3,
        bon={**bon, "return_candidates": True},
    )


def statuses(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [candidate["status"] for candidate in answer.json()["bon"]["candidates"]]


def check_error(answer: httpx.Response, status: int, code: str) -> None:
    """OpenAI's error object, with a time to come back where that helps."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["message"]
    assert error["type"]
    if status == 503:
        assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("fault", ["fail", "cut", "overload"])
async def test_a_candidate_that_fails_once_is_drawn_again(
    behind_proxy: Gateway, spoilt: SpoilingProxy, fault: Any
) -> None:
    """With its own seed, so that the answer is what it would have been."""
    undisturbed = await ask_eight(behind_proxy)
    spoilt.faults, spoilt.once, spoilt.spoilt = {5: fault}, True, []
    answer = await ask_eight(behind_proxy)
    assert spoilt.spoilt == [5]
    assert statuses(answer) == ["finished"] * 8
    assert answer.json()["bon"]["degraded"] is None
    assert answer.json()["choices"] == undisturbed.json()["choices"]


async def test_the_best_of_the_rest_wins(behind_proxy: Gateway, spoilt: SpoilingProxy) -> None:
    whole = (await ask_eight(behind_proxy)).json()["bon"]
    lost = whole["winner"]
    spoilt.faults, spoilt.spoilt = {lost: "fail"}, []
    answer = await ask_eight(behind_proxy)
    assert spoilt.spoilt == [lost, lost]
    assert statuses(answer).count("failed") == 1
    assert answer.headers["x-bon-degraded"] == "candidates_failed"
    rest = [c for c in whole["candidates"] if c["index"] != lost]
    best = max(rest, key=lambda c: c["reward"])
    assert answer.json()["choices"][0]["message"] == best["message"]


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [("fail", 502, "upstream_error"), ("overload", 503, "upstream_overloaded"),
     ("cut", 502, "upstream_error"), ("refuse", 400, "400")],
)  # fmt: skip
async def test_all_candidates_fail(
    behind_proxy: Gateway, spoilt: SpoilingProxy, fault: Any, status: int, code: str
) -> None:
    spoilt.faults = {None: fault}
    for fan_out in ("separate", "together"):
        started = time.monotonic()
        check_error(await ask_eight(behind_proxy, fan_out), status, code)
        assert time.monotonic() - started < 3


async def test_a_straggler_is_cut(behind_proxy: Gateway, spoilt: SpoilingProxy) -> None:
    spoilt.faults = {2: "hang"}
    answer = await ask_eight(behind_proxy, strategy="first_k", n=6, spare=2)
    assert statuses(answer)[2] == "rejected"
    assert statuses(answer).count("finished") >= 6
    assert answer.json()["bon"]["degraded"] is None


async def test_the_deadline_ends_a_hanging_candidate(
    behind_proxy: Gateway, spoilt: SpoilingProxy
) -> None:
    spoilt.faults = {2: "hang"}
    started = time.monotonic()
    answer = await ask_eight(behind_proxy, deadline_ms=1500)
    assert 1.4 < time.monotonic() - started < 4
    assert statuses(answer)[2] == "rejected"
    assert answer.headers["x-bon-degraded"] == "deadline"
    spoilt.faults = {None: "hang"}
    check_error(
        await ask_eight(behind_proxy, "together", deadline_ms=300), 504, "deadline_exceeded"
    )


async def test_the_client_leaves_hanging_candidates(
    behind_proxy: Gateway, spoilt: SpoilingProxy
) -> None:
    spoilt.faults = {None: "hang"}
    for fan_out, held in (("separate", 8), ("together", 1)):
        request = asyncio.create_task(ask_eight(behind_proxy, fan_out))
        while spoilt.in_progress < held:
            await asyncio.sleep(0.02)
        await leave(request)
        async with asyncio.timeout(5):
            while spoilt.in_progress:
                await asyncio.sleep(0.02)


async def test_more_than_it_takes_is_refused_at_once(
    engines: Engines, start_gateway: StartGateway
) -> None:
    """And SIGTERM lets what is in flight come to its end."""
    settings = {**engines.settings(), "limits": {"max_n": 16, "max_candidates": 16}}
    settings["rewards"].pop("in_process")
    settings["models"] = {"m": settings["models"]["reward_server-separate"]}
    gateway = await asyncio.to_thread(start_gateway, settings)
    before = engines.generator.generated
    first = asyncio.create_task(gateway.chat(model="m", **LONG, bon={"n": 16}))
    await eventually(lambda: engines.generator.generated > before, 20, "it generates")
    for stream in (False, True):
        refused = await gateway.chat(model="m", messages=ask(), stream=stream)
        check_error(refused, 503, "overloaded")
    assert not first.done()
    gateway.process.signal(15)
    answer = await first
    assert answer.status_code == 200
    assert answer.json()["usage"]["completion_tokens"] == 16 * LONG["max_tokens"]
    await eventually(lambda: gateway.process.exit_code is not None, 10, "it ends")
    assert gateway.process.exit_code == 0
    assert gateway.process.members() == []
    assert engines.generator.running == 0


async def test_the_reward_model_is_killed(
    engines: Engines, passing: Processes, start_gateway: StartGateway
) -> None:
    """In the middle of a request, whose candidates are drawn but not scored."""
    reward = start_reward_server(passing)
    settings = engines.settings()
    draw = {"policy": "separate", "reward": "mortal"}
    strategy = {"type": "best_of_n", "n": 8}
    settings |= {
        "rewards": {"mortal": {"type": "reward_server", "urls": [reward.url]}},
        "models": {
            "first": {**draw, "strategy": {**strategy, "fallback": "first"}},
            "error": {**draw, "strategy": {**strategy, "fallback": "error"}},
        },
    }
    gateway = await asyncio.to_thread(start_gateway, settings)
    before = engines.generator.generated
    requests = [
        asyncio.create_task(gateway.chat(model=model, **LONG)) for model in ("first", "error")
    ]
    await eventually(lambda: engines.generator.generated > before, 20, "it generates")
    await asyncio.to_thread(reward.process.kill)
    for _ in range(2):
        fallen_back, refused = await asyncio.gather(*requests)
        assert fallen_back.status_code == 200, fallen_back.text
        assert fallen_back.headers["x-bon-degraded"] == "reward_unavailable"
        bon = fallen_back.json()["bon"]
        assert (bon["winner"], bon["reward"]) == (0, None)
        check_error(refused, 503, "reward_unavailable")
        requests = [
            asyncio.create_task(gateway.chat(model=model, messages=ask()))
            for model in ("first", "error")
        ]
    await asyncio.gather(*requests)
    assert gateway.ready
    await asyncio.to_thread(gateway.wait_idle, engines.generator.port, reward.port)
    assert engines.generator.running == 0
