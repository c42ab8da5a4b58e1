"""Where conversations are rendered: beside the event loop, large ones apart from small ones.

A text of megabytes takes a tokenizer seconds. In a lane of its own it takes none of them from
conversations of the usual size. What the caller gave up is forgotten at once if it has not begun,
and between two of its steps if it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

LARGE = 64 * 1024
"""Weight from which a conversation is large. A text of this many characters takes about ten
milliseconds."""
VALUE = 16
"""Weight of any value beside its characters: a template walks through it."""


class GivenUpError(Exception):
    """The caller no longer waits for the work. Only the work itself sees this error."""


class Wanted:
    """Whether somebody still waits for some work."""

    def __init__(self) -> None:
        self.given_up = False

    def check(self) -> None:
        """Raises GivenUpError."""
        if self.given_up:
            raise GivenUpError


Work = Callable[[Callable[[], None]], T]
"""Is handed what it calls between its steps."""


class Lanes:
    """Two threads. `close` after use."""

    def __init__(self) -> None:
        self._small = ThreadPoolExecutor(1, thread_name_prefix="reward-render")
        self._large = ThreadPoolExecutor(1, thread_name_prefix="reward-render-large")

    async def run(self, work: Work[T], *, large: bool) -> T:
        """Its result; cancelling takes the work out of its lane."""
        # The executor keeps what was cancelled until its turn comes, and with it all that the work
        # refers to.
        held = [work]
        wanted = Wanted()
        lane = self._large if large else self._small
        try:
            return await asyncio.get_running_loop().run_in_executor(lane, _take, held, wanted)
        finally:
            wanted.given_up = True
            held.clear()

    def close(self) -> None:
        """Wait for what has begun."""
        self._small.shutdown(cancel_futures=True)
        self._large.shutdown(cancel_futures=True)


def _take(held: list[Work[T]], wanted: Wanted) -> T:
    wanted.check()
    return held.pop()(wanted.check)


def is_large(*parts: object) -> bool:
    """Whether messages, completions and tools are, together, better rendered apart.

    Looks at no more than makes them large, so it may be called on the event loop.
    """
    weight = 0
    waiting: list[Any] = [*parts]
    while waiting:
        value = waiting.pop()
        weight += VALUE
        if isinstance(value, str):
            weight += len(value)
        elif isinstance(value, Mapping):
            weight += VALUE * len(value)
            if weight < LARGE:
                waiting += value.values()
        elif isinstance(value, list | tuple):
            weight += VALUE * len(value)
            if weight < LARGE:
                waiting += value
        if weight >= LARGE:
            return True
    return False
