"""Checks answers against costly schemas while virtual time stands still."""

from __future__ import annotations

import asyncio
import threading

from bon_gateway.schemas.checker import Checker, Reply


class StillChecker(Checker):
    """The checking process belongs to a loop of real time in another thread, and ``ask`` blocks the
    caller's loop. So no timer of a ``VirtualLoop`` passes meanwhile. ``limit_s`` is the CPU time
    that one job may take. The thread starts with the first job."""

    def __init__(self, limit_s: float = 0.25) -> None:
        super().__init__(limit_s)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    async def ask(self, schema: bytes, answer: bytes | None) -> Reply:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="schemas")
            self._thread.start()
        asked = asyncio.run_coroutine_threadsafe(super().ask(schema, answer), self._loop)
        return asked.result()

    async def close(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is None or thread is None:
            return
        try:
            asyncio.run_coroutine_threadsafe(super().close(), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
