"""Sends requests to arms: in a closed loop as others end, in an open loop when their time comes.

The open loop never waits: it sends a request at its time however many are unanswered, and latency
counts from that time. So a server that stalls cannot hide it by delaying the requests behind it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bon_gateway.compare.types import ArmRecord, Key

Ask = Callable[[Key, float, float], Awaitable[ArmRecord]]
"""Request, start of the phase on ``time.perf_counter``, intended seconds after it."""


@dataclass(frozen=True)
class Loop:
    """``stop`` ends either loop: requests in flight are given up, and not kept."""

    ask: Ask
    keep: Callable[[ArmRecord], None]
    stop: asyncio.Event
    duration_s: float | None = None
    """No request starts later than this."""

    async def closed(self, keys: Iterable[Key], concurrency: int) -> None:
        """Keep ``concurrency`` requests in flight until all are asked."""
        start = time.perf_counter()
        waiting = iter(keys)

        async def worker() -> None:
            for key in waiting:
                now = time.perf_counter() - start
                if self.duration_s is not None and now > self.duration_s:
                    return
                self.keep(await self.ask(key, start, now))

        await self._until_stopped([asyncio.create_task(worker()) for _ in range(concurrency)])

    async def open(self, arrivals: Iterable[tuple[Key, float]]) -> None:
        """Ask each request at its own time, in seconds after the start."""
        start = time.perf_counter()

        async def one(key: Key, at_s: float) -> None:
            self.keep(await self.ask(key, start, at_s))

        async def send() -> None:
            async with asyncio.TaskGroup() as group:
                for key, at_s in arrivals:
                    if self.duration_s is not None and at_s > self.duration_s:
                        return
                    await asyncio.sleep(max(0.0, start + at_s - time.perf_counter()))
                    group.create_task(one(key, at_s))

        await self._until_stopped([asyncio.create_task(send())])

    async def _until_stopped(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Wait for all tasks, or for ``stop``, which cancels those that still run."""
        ended: asyncio.Future[Any] = asyncio.gather(*tasks, return_exceptions=True)
        stopped: asyncio.Future[Any] = asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, stopped, return_exceptions=True)
        for task in tasks:
            if not task.cancelled():
                task.result()
