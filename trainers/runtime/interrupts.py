"""Delays Ctrl-C and SIGTERM where an interruption would do harm."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held() -> Iterator[None]:
    """A signal that arrives during the block takes effect at its end, even if the block fails.

    Python runs signal handlers between any two instructions of the main thread. If a handler raises
    just after a ``queue.Queue`` has taken its lock, nothing releases that lock. TensorBoard's
    writer puts each log into such a queue, and closing the writer would then never return.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.getsignal(number) for number in NUMBERS}
    # getsignal gives None for a handler that Python did not set, and cannot set again.
    ours = {number: handler for number, handler in before.items() if callable(handler)}
    for number in ours:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        for caught in came:
            signal.raise_signal(caught)
