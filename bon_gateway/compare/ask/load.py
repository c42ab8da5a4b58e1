"""Puts trials to arms: in a closed loop as others end, in an open loop when their time comes.

The open loop waits for nobody: a request is sent at its time however many are unanswered, and its
latency counts from that time, so a server that stalls cannot hide it by delaying who would ask.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bon_gateway.compare.types import Record, Trial

Ask = Callable[[Trial, float, float], Awaitable[Record]]
"""Trial, start of the phase on ``time.perf_counter``, intended seconds after it."""
Keep = Callable[[Record], None]


@dataclass(frozen=True)
class Loop:
    """What both loops need. ``stop`` ends them: what is in flight is given up, and not kept."""

    ask: Ask
    keep: Keep
    stop: asyncio.Event
    duration_s: float | None = None
    """No request starts later than this."""


async def closed_loop(trials: Sequence[Trial], concurrency: int, loop: Loop) -> float:
    """``concurrency`` requests in flight until all are asked; the seconds it took."""
    start = time.perf_counter()
    waiting = iter(trials)

    async def worker() -> None:
        for trial in waiting:
            now = time.perf_counter() - start
            if loop.duration_s is not None and now > loop.duration_s:
                return
            loop.keep(await loop.ask(trial, start, now))

    workers = [asyncio.create_task(worker()) for _ in range(concurrency)]
    await _until_stopped(workers, loop.stop)
    return time.perf_counter() - start


async def open_loop(trials: Sequence[Trial], loop: Loop) -> float:
    """Each request at its own time; the seconds until the last one has ended."""
    start = time.perf_counter()

    async def one(trial: Trial, at_s: float) -> None:
        loop.keep(await loop.ask(trial, start, at_s))

    async def arrivals() -> None:
        async with asyncio.TaskGroup() as group:
            for trial in trials:
                assert trial.at_s is not None, "an open loop's trials have times"
                if loop.duration_s is not None and trial.at_s > loop.duration_s:
                    return
                await asyncio.sleep(max(0.0, start + trial.at_s - time.perf_counter()))
                group.create_task(one(trial, trial.at_s))

    await _until_stopped([asyncio.create_task(arrivals())], loop.stop)
    return time.perf_counter() - start


async def _until_stopped(tasks: Sequence[asyncio.Task[None]], stop: asyncio.Event) -> None:
    """Wait for all tasks, or for ``stop``; whatever then runs is cancelled."""
    ended = asyncio.create_task(_all(tasks))
    stopped = asyncio.create_task(_set(stop))
    try:
        await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(ended, stopped, return_exceptions=True)
    for task in tasks:
        if not task.cancelled():
            task.result()


async def _all(tasks: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


async def _set(event: asyncio.Event) -> None:
    await event.wait()
