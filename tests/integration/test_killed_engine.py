"""An engine that is full, that hangs, and at last is killed in the middle of a request."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.integration.conftest import Engines
from tests.integration.engines import Generator, Upstream
from tests.integration.gateway import Gateway, leave
from tests.integration.patience import up_to_five_times
from tests.integration.prompts import LONG, ask, word_that_splits
from tests.waiting import eventually

pytestmark = pytest.mark.vllm
StartGateway = Callable[[dict[str, Any]], Gateway]


def in_front_of(engines: Engines, urls: list[str]) -> dict[str, Any]:
    strategy = {"type": "best_of_n", "n": 8}
    settings = engines.settings()
    return {
        "policies": {
            name: {**policy, "urls": urls} for name, policy in settings["policies"].items()
        },
        "rewards": {"r": settings["rewards"]["reward_server"]},
        "models": {
            name: {"policy": name, "reward": "r", "strategy": strategy}
            for name in settings["policies"]
        },
    }


@pytest.fixture(scope="module")
def alone(engines: Engines, doomed: Generator, start_gateway: StartGateway) -> Gateway:
    """It knows no other engine."""
    return start_gateway(in_front_of(engines, [doomed.url]))


@pytest.fixture(scope="module")
def pair(engines: Engines, doomed: Generator, start_gateway: StartGateway) -> Gateway:
    """It has a healthy engine too, and asks the doomed one first."""
    return start_gateway(in_front_of(engines, [doomed.url, engines.generator.url]))


@up_to_five_times
async def test_a_full_engine(alone: Gateway, doomed: Generator, engines: Engines) -> None:
    """vLLM takes 24 requests at once here. It says 503 without a time; the gateway adds one."""
    held = asyncio.create_task(asyncio.to_thread(doomed.chat, {**LONG, "n": 24}))
    await eventually(lambda: doomed.running >= 24, 10, "it is full")
    answer = await alone.chat(model="separate", messages=ask(), max_tokens=4, bon={"n": 4})
    assert not held.done()
    assert answer.status_code == 503, answer.text
    assert answer.json()["error"]["code"] == "upstream_overloaded"
    assert int(answer.headers["retry-after"]) >= 1
    await held
    answer = await alone.chat(model="separate", messages=ask())
    assert answer.status_code == 200
    assert alone.ready


@pytest.mark.parametrize("fan_out", ["separate", "together"])
async def test_a_hanging_engine(alone: Gateway, doomed: Generator, fan_out: str) -> None:
    """The deadline answers, a client may leave, and the engine finds nothing left to do."""
    doomed.process.signal_group(signal.SIGSTOP)
    started = time.monotonic()
    answer = await alone.chat(model=fan_out, **LONG, bon={"deadline_ms": 500})
    took_s = time.monotonic() - started
    request = asyncio.create_task(alone.chat(model=fan_out, **LONG))
    gauge = "bon_candidates_in_flight"
    await eventually(lambda: alone.metric(gauge) == 8, 5, "it is admitted")
    await leave(request)
    await eventually(lambda: alone.metric(gauge) == 0, 5, "it is let go")
    doomed.process.signal_group(signal.SIGCONT)
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "deadline_exceeded"
    assert took_s < 3
    await eventually(lambda: doomed.running == 0, 10, "it is idle")
    await eventually(lambda: alone.ready, 10, "it is ready")
    assert (await alone.chat(model=fan_out, messages=ask())).status_code == 200
    await asyncio.to_thread(alone.wait_idle, doomed.port)


@pytest.mark.parametrize("fan_out", ["separate", "together"])
@up_to_five_times
async def test_the_deadline_answers_with_what_has_finished(
    alone: Gateway, doomed: Generator, engines: Engines, fan_out: str
) -> None:
    """A stop word ends some candidates early; the engine stands still before the others end."""
    drawn = await asyncio.to_thread(doomed.chat, {**LONG, "n": 8})
    texts = [choice["message"]["content"] for choice in drawn["choices"]]
    word, early = word_that_splits(texts)
    ended = doomed.finished
    request = asyncio.create_task(
        alone.chat(
            model=fan_out,
            **{**LONG, "stop": [word]},
            bon={"deadline_ms": 4000, "min_candidates": 1},
        )
    )
    await eventually(lambda: doomed.finished >= ended + early, 20, "some have finished")
    doomed.process.signal_group(signal.SIGSTOP)
    answer = await request
    doomed.process.signal_group(signal.SIGCONT)
    assert answer.status_code == 200, answer.text
    bon = answer.json()["bon"]
    assert bon["degraded"] == "deadline"
    statuses = [candidate["status"] for candidate in bon["candidates"]]
    assert statuses.count("finished") >= 1
    assert statuses.count("rejected") >= 1
    assert set(statuses) <= {"finished", "rejected"}
    assert bon["candidates"][bon["winner"]]["status"] == "finished"
    best = max(c["reward"] for c in bon["candidates"] if c["status"] == "finished")
    assert bon["reward"] == best
    await eventually(lambda: doomed.running == 0, 10, "it is idle")


async def _in_the_middle(
    alone: Gateway, pair: Gateway, doomed: Generator
) -> tuple[asyncio.Task[Any], asyncio.Task[Any]]:
    """A request of each gateway, for which the doomed engine generates."""
    for _ in range(5):
        before = doomed.generated
        lost = asyncio.create_task(alone.chat(model="separate", **LONG))
        saved = asyncio.create_task(
            pair.chat(model="separate", **LONG, bon={"return_candidates": True})
        )
        await eventually(partial(doomed.generates_since, before), 20, "it generates")
        # A stopped engine cannot end its work before it is killed.
        doomed.process.signal_group(signal.SIGSTOP)
        await asyncio.sleep(0.2)
        if not (lost.done() or saved.done()):
            return lost, saved
        doomed.process.signal_group(signal.SIGCONT)
        await asyncio.gather(lost, saved)
    raise AssertionError("they always end before they are caught in the middle")


async def test_a_killed_engine(
    alone: Gateway, pair: Gateway, doomed: Generator, engines: Engines
) -> None:
    """Alone it is an error at once; of two engines the other one draws what is missing."""
    lost, saved = await _in_the_middle(alone, pair, doomed)
    killed = time.monotonic()
    killing = asyncio.create_task(asyncio.to_thread(doomed.process.kill))
    answer = await lost
    assert time.monotonic() - killed < 3
    await killing
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "upstream_unavailable"
    assert int(answer.headers["retry-after"]) >= 1
    for fan_out in ("separate", "together"):
        answer = await alone.chat(model=fan_out, messages=ask())
        assert answer.json()["error"]["code"] == "upstream_unavailable"
    assert not alone.ready

    answer = await saved
    assert answer.status_code == 200, answer.text
    bon = answer.json()["bon"]
    assert bon["degraded"] is None, pair.process.output
    assert len(bon["candidates"]) == 8
    assert all(candidate["reward"] is not None for candidate in bon["candidates"])
    drawn = engines.generator.chat({**LONG, "n": 8})["choices"]
    texts = [candidate["message"]["content"] for candidate in bon["candidates"]]
    assert texts == [choice["message"]["content"] for choice in drawn]
    assert pair.ready
    for gateway in (alone, pair):
        await asyncio.to_thread(gateway.wait_idle, doomed.port, engines.generator.port)
    assert engines.generator.running == 0


async def test_a_killed_pooling_engine(
    engines: Engines, doomed_pooling: Upstream, start_gateway: StartGateway
) -> None:
    """In the middle of a request: the first candidate answers, and the gateway stays ready."""
    settings = in_front_of(engines, [engines.generator.url])
    settings["rewards"] = {"r": {"type": "vllm_classify", "urls": [doomed_pooling.url]}}
    gateway = await asyncio.to_thread(start_gateway, settings)
    scored = await gateway.chat(model="separate", messages=ask(), seed=7)
    assert scored.json()["bon"]["reward"] is not None
    # A stopped engine cannot score anything before it is killed.
    doomed_pooling.process.signal_group(signal.SIGSTOP)
    request = asyncio.create_task(gateway.chat(model="separate", messages=ask(), seed=7))
    gauge = "bon_candidates_in_flight"
    await eventually(lambda: gateway.metric(gauge) == 8, 5, "it is admitted")
    await asyncio.sleep(0.5)
    assert not request.done()
    await asyncio.to_thread(doomed_pooling.process.kill)
    for answer in (await request, await gateway.chat(model="together", messages=ask(), seed=7)):
        assert answer.status_code == 200, answer.text
        bon = answer.json()["bon"]
        assert (bon["degraded"], bon["winner"], bon["reward"]) == ("reward_unavailable", 0, None)
    assert gateway.ready
    await asyncio.to_thread(gateway.wait_idle, engines.generator.port, doomed_pooling.port)
