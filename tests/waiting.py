"""How tests wait for what a process, a thread or another task does: by its outcome, never by time.

Each raises TimeoutError if the condition does not become true in time. The time is for machines
that are busy with other things; a test that measures how long something takes does so by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PATIENCE_S = 30.0
POLL_S = 0.05
SHORT_POLL_S = 0.005
"""For what costs nothing to ask."""
Condition = Callable[[], object]


def wait_until(
    condition: Condition,
    within_s: float = PATIENCE_S,
    what: str = "it comes about",
    every_s: float = POLL_S,
) -> None:
    """For a test without an event loop."""
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {within_s} s: {what}")
        time.sleep(every_s)


async def until(
    condition: Condition, within_s: float = PATIENCE_S, what: str = "it comes about"
) -> None:
    """For what happens in this event loop: the condition still holds when this returns."""
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {within_s} s: {what}")
        await asyncio.sleep(SHORT_POLL_S)


async def eventually(
    condition: Condition, within_s: float = PATIENCE_S, what: str = "it comes about"
) -> None:
    """For a condition that takes its time, such as a request, while the loop goes on turning."""
    await asyncio.to_thread(wait_until, condition, within_s, what)
