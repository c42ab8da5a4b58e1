"""Delays Ctrl-C and SIGTERM where an interruption would do harm, or would lose work."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held(*, second_at_once: bool = False) -> Iterator[list[int]]:
    """A signal that arrives during the block takes effect at its end, even if the block fails.
    Yields those that came so far. With `second_at_once` a further one is not held.

    Python runs signal handlers between any two instructions of the main thread. If a handler raises
    just after a ``queue.Queue`` has taken its lock, nothing releases that lock. TensorBoard's
    writer puts each log into such a queue, and closing the writer would then never return.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {number: signal.getsignal(number) for number in NUMBERS}
    # getsignal gives None for a handler that Python did not set, and cannot set again.
    ours = {int(number): handler for number, handler in before.items() if callable(handler)}

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if second_at_once and len(came) > 1:
            came.clear()
            ours[number](number, frame)

    for number in ours:
        signal.signal(number, note)
    try:
        yield came
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        for caught in came:
            signal.raise_signal(caught)
