"""An event loop whose time is virtual: when nothing is ready, it jumps to the next timer.

So a strategy that waits for candidates, deadlines or scores runs as it does when it serves, and an
hour of it takes a second. Nothing outside the loop may be waited for while a timer runs: the jump
would come first.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike


class JumpingSelector(selectors.BaseSelector):
    """Waits for no timer: the time that a call would have waited is added to ``now``."""

    def __init__(self) -> None:
        self._files = selectors.DefaultSelector()
        self.now = 0.0
        """Virtual seconds since the loop was made."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # Without a timer, only something outside can go on: that takes real time, and none here.
        ready = self._files.select(None if timeout is None else 0)
        if not ready and timeout is not None:
            self.now += timeout
        return ready

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: object = None
    ) -> selectors.SelectorKey:
        return self._files.register(fileobj, events, data)

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._files.unregister(fileobj)

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        return self._files.get_map()

    def close(self) -> None:
        self._files.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """``time()`` is virtual. All of asyncio's timers and time-outs go by it."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now
