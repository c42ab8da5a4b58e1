from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from bon_gateway.compare.ask.client import ArmClient
from bon_gateway.compare.ask.load import Loop
from bon_gateway.compare.settings import ArmSettings, LoadSettings
from bon_gateway.compare.types import ArmRecord, Key
from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream

STALL_S = 1.0
COUNT = 60
RATE = 60.0


def stalls(at: int) -> Callable[[Call], Step]:
    """A server that stands still for a second from the ``at``-th request on."""
    over = asyncio.Event()

    def script(call: Call) -> Step:
        if call.ordinal == at:
            asyncio.get_running_loop().call_later(STALL_S, over.set)
        return Step(hold=over) if call.ordinal >= at and not over.is_set() else Step()

    return script


async def slow_answers(*, open_rate: float | None) -> int:
    """How many of the requests took more than half of the stall."""
    kept: list[ArmRecord] = []
    keys = [Key("p", "a", i, 0) for i in range(COUNT)]
    async with FakeUpstream(stalls(5)) as upstream:
        client = ArmClient(
            ArmSettings(model="fake"), upstream.url, {}, LoadSettings(timeout_s=30), {}
        )

        async def ask(key: Key, start: float, at_s: float) -> ArmRecord:
            messages = [{"role": "user", "content": "x"}]
            return await client.ask(key, messages, 1, start=start, intended_s=at_s)

        loop = Loop(ask, kept.append, asyncio.Event())
        if open_rate is None:
            await loop.closed(keys, 1)
        else:
            await loop.open((key, i / open_rate) for i, key in enumerate(keys))
        await client.close()
    assert len(kept) == COUNT
    return sum(record.latency_s > STALL_S / 2 for record in kept)


async def test_a_stall_shows_in_the_open_loop_and_not_in_the_closed_one() -> None:
    """While the server stands still the closed loop asks nothing: one request in 60 is slow, and
    its p95 knows of no stall. In the open loop all that arrived in its first half are."""
    closed, opened = await slow_answers(open_rate=None), await slow_answers(open_rate=RATE)
    assert closed <= COUNT // 20
    assert opened >= COUNT // 4


def keep_all(seconds: float = 0.0) -> tuple[list[ArmRecord], Callable[..., object]]:
    async def ask(key: Key, start: float, at_s: float) -> ArmRecord:
        await asyncio.sleep(seconds)
        return ArmRecord(key, at_s, at_s, time.perf_counter() - start - at_s)

    return [], ask


def keys_of(count: int) -> list[Key]:
    return [Key("p", "a", i, 0) for i in range(count)]


def every(gap_s: float, count: int) -> list[tuple[Key, float]]:
    return [(key, i * gap_s) for i, key in enumerate(keys_of(count))]


async def test_the_closed_loop_keeps_so_many_in_flight() -> None:
    running = most = 0
    kept: list[ArmRecord] = []

    async def ask(key: Key, start: float, at_s: float) -> ArmRecord:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002)
        running -= 1
        return ArmRecord(key, at_s, at_s, 0.0)

    await Loop(ask, kept.append, asyncio.Event()).closed(keys_of(20), 3)
    assert (most, len(kept)) == (3, 20)


@pytest.mark.parametrize("gap_s", [None, 0.0])
async def test_what_has_ended_when_it_is_stopped_is_kept(gap_s: float | None) -> None:
    stop = asyncio.Event()
    kept: list[ArmRecord] = []
    cancelled = 0

    async def ask(key: Key, start: float, at_s: float) -> ArmRecord:
        nonlocal cancelled
        try:
            if key.prompt >= 5:
                await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled += 1
            raise
        return ArmRecord(key, at_s, at_s, 0.0)

    def keep(record: ArmRecord) -> None:
        kept.append(record)
        if len(kept) == 5:
            asyncio.get_running_loop().call_later(0.05, stop.set)

    loop = Loop(ask, keep, stop)
    if gap_s is None:
        await loop.closed(keys_of(20), 4)
    else:
        await loop.open(every(gap_s, 20))
    assert [record.key.prompt for record in kept] == [0, 1, 2, 3, 4]
    assert cancelled == (4 if gap_s is None else 15)


async def test_latency_counts_from_the_intended_start() -> None:
    """Also of a request that is sent late, as the process was busy with something else."""
    given: list[float] = []

    async def ask(key: Key, start: float, at_s: float) -> ArmRecord:
        given.append(at_s)
        if key.prompt == 0:
            time.sleep(0.1)  # noqa: ASYNC251 - what is tested is a loop that is held up
        return ArmRecord(key, at_s, at_s, 0.0)

    await Loop(ask, lambda record: None, asyncio.Event()).open(every(0.01, 5))
    assert given == [at_s for _, at_s in every(0.01, 5)]


async def test_no_request_starts_after_the_duration() -> None:
    kept, ask = keep_all()
    loop = Loop(ask, kept.append, asyncio.Event(), duration_s=0.05)  # type: ignore[arg-type]
    await loop.open(every(0.01, 10))
    assert [record.key.prompt for record in kept] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("gap_s", [None, 0.0])
async def test_a_mistake_of_ours_is_not_swallowed(gap_s: float | None) -> None:
    async def ask(key: Key, start: float, at_s: float) -> ArmRecord:
        raise ZeroDivisionError

    loop = Loop(ask, lambda record: None, asyncio.Event())
    running = loop.closed(keys_of(3), 2) if gap_s is None else loop.open(every(gap_s, 3))
    with pytest.raises((ZeroDivisionError, ExceptionGroup)):
        await running
