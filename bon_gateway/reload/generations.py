"""Each request is answered under the settings that were in force when it began.

A generation is everything that is made from one set of settings, including the application. It
never changes. A reload makes the next one and puts it in place with one assignment. Requests that
began before stay with their generation; after the last of them, the parts that only it used are
closed. ``reloader`` reads the settings and decides whether they are accepted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from bon_common.keys import KeyRing
from bon_gateway.edge.admission import Admission
from bon_gateway.gateway import Closing, Gateway
from bon_gateway.recording.recorder import Recorder
from bon_gateway.settings.tree import Settings


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """One set of settings and what is made from it. Unchanged parts are shared with the generation
    before."""

    settings: Settings
    keys: KeyRing
    gateway: Gateway
    recorder: Recorder
    admission: Admission
    app: ASGIApp


class Generations:
    """Gives each request the generation in force. ``on_change`` is called with each new one."""

    def __init__(self, first: Generation, on_change: Callable[[Generation], None]) -> None:
        self.current = first
        self._on_change = on_change
        self._requests: dict[Generation, int] = {first: 0}
        """Requests in flight by generation. A replaced generation leaves with its last request."""
        self._closed = False
        self._closing: set[asyncio.Task[None]] = set()
        on_change(first)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request with the generation that is in force now."""
        generation = self.current
        self._requests[generation] += 1
        try:
            await generation.app(scope, receive, send)
        finally:
            self._requests[generation] -= 1
            if generation is not self.current:
                self._see_off(generation)

    def replace(self, generation: Generation) -> None:
        """Answer requests with ``generation`` from now on. Its new parts must have been started."""
        before, self.current = self.current, generation
        self._requests[generation] = 0
        self._on_change(generation)
        self._see_off(before)

    async def close(self) -> None:
        """Close everything, even if requests still run."""
        await asyncio.gather(*self._closing)
        self._closed = True
        living = list(self._requests)
        await _close(
            {id(part): part for g in living for part in g.gateway.parts}.values(),
            {id(g.recorder): g.recorder for g in living}.values(),
        )

    def _see_off(self, generation: Generation) -> None:
        if self._closed or self._requests[generation]:
            return
        del self._requests[generation]
        used = {id(part) for living in self._requests for part in living.gateway.parts}
        recorders = {id(living.recorder) for living in self._requests}
        task = asyncio.create_task(
            _close(
                [part for part in generation.gateway.parts if id(part) not in used],
                [r for r in (generation.recorder,) if id(r) not in recorders],
            ),
            name="closing a generation",
        )
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _close(parts: Iterable[Closing], recorders: Iterable[Recorder]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for part in parts:
            tasks.create_task(part.close())
    for recorder in recorders:
        await asyncio.to_thread(recorder.close)
