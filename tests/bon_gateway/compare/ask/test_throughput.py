from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from bon_gateway.compare.ask.throughput import highest_rate, meets
from bon_gateway.compare.settings import TargetSettings
from bon_gateway.compare.types import ArmRecord, Key
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.compare.endpoints import best_of_n
from tests.bon_gateway.compare.support import compare, settings_of

TARGET = TargetSettings(latency_ms=100, requests=20, refinements=6)


def answers(latency_s: float, failed: int = 0) -> list[ArmRecord]:
    return [
        ArmRecord(
            Key("p", "a", i, 0), 0.0, 0.0, latency_s, outcome="timeout" if i < failed else "ok"
        )
        for i in range(20)
    ]


def test_failures_take_for_ever() -> None:
    assert meets(answers(0.1), TARGET)
    assert not meets(answers(0.101), TARGET)
    assert meets(answers(0.1, failed=1), TARGET)
    assert not meets(answers(0.1, failed=2), TARGET)


@pytest.mark.parametrize("capacity", [0.3, 1.0, 7.3, 30.0])
async def test_it_closes_in_on_the_capacity(capacity: float) -> None:
    async def attempt(rate: float, time: int) -> Sequence[ArmRecord]:
        return answers(0.05 if rate <= capacity else 5.0)

    found = await highest_rate(attempt, TARGET)
    assert found is not None
    top = max(1.0, 2 * capacity)
    assert capacity - top / 2**6 <= found <= capacity


async def test_a_disturbance_is_tried_once_more() -> None:
    tried = []

    async def attempt(rate: float, time: int) -> Sequence[ArmRecord]:
        tried.append(rate)
        return answers(5.0 if time == 0 and rate == 2.0 else 0.05 if rate <= 8 else 5.0)

    assert await highest_rate(attempt, TARGET.model_copy(update={"refinements": 0})) == 8.0
    assert tried == [1.0, 2.0, 2.0, 4.0, 8.0, 16.0, 16.0]


async def test_it_stops_at_the_largest_rate() -> None:
    tried = []

    async def attempt(rate: float, time: int) -> Sequence[ArmRecord]:
        tried.append(rate)
        return answers(0.0)

    assert await highest_rate(attempt, TARGET.model_copy(update={"max_rate": 5.0})) == 5.0
    assert tried == [1.0, 2.0, 4.0, 5.0]


async def test_a_search_that_was_stopped_says_nothing() -> None:
    async def attempt(rate: float, time: int) -> Sequence[ArmRecord]:
        return answers(0.0)[:3]

    assert await highest_rate(attempt, TARGET) is None


async def test_of_a_real_endpoint(tmp_path: Path) -> None:
    """The search asks each arm alone; its requests are in no other figure."""
    async with FakeUpstream(best_of_n(tokens=3, scored=0)) as upstream:
        arms = {name: {"url": upstream.url, "model": "fake"} for name in "ab"}
        target = {
            "latency_ms": 60_000,
            "requests": 5,
            "start_rate": 200,
            "max_rate": 400,
            "refinements": 0,
        }
        prices = {"machine_hour": 7.2}
        settings = settings_of(tmp_path, arms, prompts=3, target=target, prices=prices)
        results = await compare(settings)
        assert upstream.requests == 2 * 3 + 2 * 2 * 5
    assert [arm.highest_rate for arm in results.arms] == [400, 400]
    assert [arm.asked for arm in results.arms] == [3, 3]
    # 7.20 an hour are .002 a second, for 400 requests.
    assert [arm.cost_at_rate for arm in results.arms] == pytest.approx([5e-6, 5e-6], abs=1e-12)
