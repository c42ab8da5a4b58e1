from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from reward_server.errors import DrainingError, NotReadyError, StartupError
from reward_server.http.service import LoadScorer, Service
from reward_server.scoring.scorer import Scorer
from reward_server.settings import Settings
from reward_server.testing import FakeForward, fake_scorer
from tests.waiting import eventually

SETTINGS = Settings(model="fake")


async def failure_of(load: LoadScorer) -> StartupError | None:
    failed = asyncio.Event()
    service = Service(SETTINGS, load, failed.set)
    service.open()
    await asyncio.wait_for(failed.wait(), 5)
    with pytest.raises(NotReadyError):
        service.scorer()
    await service.close()
    return service.failure


async def test_it_is_ready_only_after_its_warm_up() -> None:
    forward = FakeForward()
    forward.gate.clear()
    service = Service(SETTINGS, partial(fake_scorer, forward=forward), None)
    service.open()
    await eventually(lambda: len(forward.batches) == 1)
    with pytest.raises(NotReadyError):
        service.scorer()
    forward.gate.set()
    async with asyncio.timeout(5):
        while True:
            try:
                scorer = service.scorer()
                break
            except NotReadyError:
                await asyncio.sleep(0.01)
    assert isinstance(scorer, Scorer)
    service.lifecycle.drain()
    with pytest.raises(DrainingError):
        service.scorer()
    await service.close()


async def test_what_keeps_a_model_from_being_served_is_told() -> None:
    def refused(*_: object) -> Any:
        raise StartupError("dtype", "no")

    def broken(*_: object) -> Any:
        raise ZeroDivisionError("over\nnothing")

    failure = await failure_of(refused)
    assert (failure and failure.key) == "dtype"
    failure = await failure_of(broken)
    assert failure is not None
    assert "ZeroDivisionError while loading: over nothing" in failure.reason


async def test_a_failing_warm_up_is_no_start() -> None:
    forward = FakeForward(lambda _: float("nan"))
    failure = await failure_of(partial(fake_scorer, forward=forward))
    assert failure is not None
    assert "warm-up" in failure.reason
