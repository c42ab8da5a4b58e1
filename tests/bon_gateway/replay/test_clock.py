"""Virtual time: it passes by timers alone, in their order, and waits for what is outside."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tests.bon_gateway.replay.kit import virtual


def test_an_hour_is_over_at_once_and_exactly() -> None:
    async def work() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await asyncio.sleep(3600)
        return started, loop.time()

    assert virtual(work()) == (0.0, 3600.0)


def test_timers_fire_in_their_order_whoever_began_first() -> None:
    async def work() -> list[tuple[str, float]]:
        loop = asyncio.get_running_loop()
        seen: list[tuple[str, float]] = []

        async def wait(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            seen.append((name, loop.time()))

        await asyncio.gather(wait("slow", 5.0), wait("quick", 2.0), wait("middle", 3.0))
        return seen

    assert virtual(work()) == [("quick", 2.0), ("middle", 3.0), ("slow", 5.0)]


def test_what_is_ready_takes_no_time() -> None:
    async def work() -> float:
        for _ in range(100):
            await asyncio.sleep(0)
        return asyncio.get_running_loop().time()

    assert virtual(work()) == 0.0


def test_a_timeout_is_virtual_too() -> None:
    async def work() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert virtual(work()) == 60.0


def test_without_a_timer_it_waits_for_another_thread() -> None:
    async def work() -> tuple[str, float]:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[str] = loop.create_future()
        begun = threading.Event()

        def answer() -> None:
            begun.wait(10)
            loop.call_soon_threadsafe(answered.set_result, "from outside")

        thread = threading.Thread(target=answer)
        thread.start()
        begun.set()
        found = await answered
        thread.join()
        return found, loop.time()

    assert virtual(work()) == ("from outside", 0.0)
