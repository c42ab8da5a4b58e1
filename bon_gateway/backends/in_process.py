"""The life of a model in the gateway's own process: it is loaded without blocking."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TypeVar

from bon_common.daemon_thread import in_daemon_thread
from bon_gateway.backends.loading_lock import LOADING

T = TypeVar("T")
_log = logging.getLogger(__name__)


class InProcessModel(ABC):
    """The part of a backend that loads its model. A subclass opens it and lets it go."""

    kind: ClassVar[str]
    """What it is to operators, such as ``reward model``."""

    def __init__(self, model: str) -> None:
        self._name = Path(model).name
        self._state = "warming"
        self._opening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to load the model and to use it once. Returns at once."""
        self._opening = asyncio.create_task(self._come_up(), name=f"in-process {self.kind}")
        self._opening.add_done_callback(self._opened)

    def ready(self) -> bool:
        return self._state == "up"

    def warming(self) -> bool:
        return self._state == "warming"

    def health(self) -> dict[str, str]:
        return {self._name: self._state}

    def troubles(self) -> dict[str, str]:
        return {}

    async def close(self) -> None:
        """Refuse new calls and let the model go."""
        self._state = "ejected"
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        await self._release()

    @abstractmethod
    async def _open(self) -> None:
        """Load the model, and use it once. Whatever it raises is logged."""

    @abstractmethod
    async def _release(self) -> None:
        """Let go of what ``_open`` has opened, if anything. Nothing opens any more."""

    async def _load_alone(self, load: Callable[[], T]) -> T:
        """The result of ``load``, from a thread of its own, while no other model is loaded."""

        def alone() -> T:
            with LOADING:
                return load()

        return await in_daemon_thread(alone, f"load {self.kind}")

    def _not_up(self) -> str:
        """Why a call is refused."""
        what = "is being loaded" if self.warming() else "is not available"
        return f"the {self.kind} {self._name} {what}"

    async def _come_up(self) -> None:
        await self._open()
        self._state = "up"

    def _opened(self, opening: asyncio.Task[None]) -> None:
        if opening.cancelled():
            return
        error = opening.exception()
        if error is not None:
            self._state = "ejected"
            reason = " ".join(str(error).split())
            failure = type(error).__name__
            _log.error("%s %s cannot be loaded: %s: %s", self.kind, self._name, failure, reason)
