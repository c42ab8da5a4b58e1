"""Where conversations are rendered: beside the event loop, large ones apart from small ones.

A tokenizer takes seconds for a text of megabytes. In a lane of its own such a text does not delay
conversations of the usual size. Work that its caller gave up never begins, or ends between two of
its steps.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

LARGE = 64 * 1024
"""Weight from which a conversation is large. A text of this many characters takes about ten
milliseconds."""
VALUE = 16
"""Weight of any value beside its characters: a template walks through it."""

StillWanted = Callable[[], None]
"""Work calls it between its steps. It raises once the caller has given up."""


class GivenUpError(Exception):
    """The caller no longer waits for the work. Only the work itself sees this error."""


class Lanes:
    """Two threads. `close` after use."""

    def __init__(self) -> None:
        self._small = ThreadPoolExecutor(1, thread_name_prefix="reward-render")
        self._large = ThreadPoolExecutor(1, thread_name_prefix="reward-render-large")

    async def run(self, work: Callable[[StillWanted], T], *, large: bool) -> T:
        """Return the work's result. Cancelling takes the work out of its lane."""
        # The executor keeps a cancelled call until its turn comes. It must not keep the work, and
        # the texts that the work refers to, so the call finds the work in a list that is emptied.
        held = [work]
        given_up = threading.Event()

        def still_wanted() -> None:
            if given_up.is_set():
                raise GivenUpError

        def begin() -> T:
            still_wanted()
            return held.pop()(still_wanted)

        lane = self._large if large else self._small
        try:
            return await asyncio.get_running_loop().run_in_executor(lane, begin)
        finally:
            given_up.set()
            held.clear()

    def close(self) -> None:
        """Wait for what has begun."""
        self._small.shutdown(cancel_futures=True)
        self._large.shutdown(cancel_futures=True)


def is_large(*parts: object) -> bool:
    """Whether messages, completions and tools are, together, better rendered apart.

    Stops looking as soon as they are large, so it may be called on the event loop.
    """
    weight = 0
    waiting: list[Any] = [*parts]
    while waiting and weight < LARGE:
        value = waiting.pop()
        weight += VALUE
        if isinstance(value, str):
            weight += len(value)
        elif isinstance(value, Mapping | list | tuple):
            weight += VALUE * len(value)
            if weight < LARGE:
                waiting += value.values() if isinstance(value, Mapping) else value
    return weight >= LARGE
