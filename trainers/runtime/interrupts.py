"""Ctrl-C and SIGTERM wait where an interruption would do harm."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held() -> Iterator[None]:
    """What comes meanwhile is raised at the end of the block, also if the block fails.

    Python runs a signal's handler between any two instructions of the main thread. An exception
    from it just after a ``queue.Queue`` has taken its lock leaves it locked for ever, and whoever
    closes what the queue belongs to then waits for ever: TensorBoard's writer at each log.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.getsignal(number) for number in NUMBERS}
    # None: not set from Python, and so not to be set again from there.
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
