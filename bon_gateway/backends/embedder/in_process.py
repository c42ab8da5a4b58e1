"""The sentence model in the gateway's own process, loaded without blocking.

Requests take turns, because a forward pass uses all threads anyway. ``network`` has what needs
torch; only ``start`` imports it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from bon_common.daemon_thread import in_daemon_thread
from bon_gateway.backends.embedder.in_process_settings import InProcessEmbedderSettings
from bon_gateway.backends.loading_lock import LOADING
from bon_gateway.errors import EmbedderError
from bon_gateway.types import Caller, Vector

WARM_UP = "Hi"
_log = logging.getLogger(__name__)

EmbedTexts = Callable[[Sequence[str]], list[Vector]]
LoadEmbedder = Callable[[InProcessEmbedderSettings], EmbedTexts]


def _load(settings: InProcessEmbedderSettings) -> EmbedTexts:
    module = import_module("bon_gateway.backends.embedder.network")
    with LOADING:
        loaded: EmbedTexts = module.load_sentence_model(settings)
    return loaded


class InProcessEmbedder:
    """An Embedder over a transformers model."""

    def __init__(self, settings: InProcessEmbedderSettings, *, load: LoadEmbedder = _load) -> None:
        """``load`` is called in a thread of its own. Tests pass their own models with it."""
        self._settings = settings
        self._load = load
        self._name = Path(settings.model).name
        self._state = "warming"
        self._embed: EmbedTexts | None = None
        self._opening: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def start(self) -> None:
        """Begin to load the model. Returns at once."""
        self._opening = asyncio.create_task(self._open(), name="in-process-embedder")
        self._opening.add_done_callback(self._opened)

    def ready(self) -> bool:
        return self._state == "up"

    def health(self) -> dict[str, str]:
        return {self._name: self._state}

    def troubles(self) -> dict[str, str]:
        return {}

    async def close(self) -> None:
        """A forward pass that runs ends by itself."""
        self._state = "ejected"
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        self._embed = None

    async def embed(self, texts: Sequence[str], caller: Caller | None) -> list[Vector]:
        embed = self._embed
        if embed is None or self._state != "up":
            what = "is being loaded" if self._state == "warming" else "is not available"
            raise EmbedderError(f"the embedder {self._name} {what}")
        if self._waiting >= self._settings.max_queue:
            raise EmbedderError(f"the embedder {self._name} has too many requests")
        self._waiting += 1
        try:
            read = [self._settings.read(text) for text in texts]
            size = self._settings.batch
            found: list[Vector] = []
            # Others take their turns between two batches, and one who leaves ends here.
            for start in range(0, len(read), size):
                async with self._turn:
                    found += await asyncio.to_thread(embed, read[start : start + size])
        except RuntimeError as error:  # torch: out of memory, for example
            _log.exception("the embedder %s failed", self._name)
            raise EmbedderError(f"the embedder {self._name} failed") from error
        finally:
            self._waiting -= 1
        return found

    async def _open(self) -> None:
        embed = await in_daemon_thread(lambda: self._load(self._settings), "load-embedder")
        await asyncio.to_thread(embed, [WARM_UP])
        self._embed = embed
        self._state = "up"

    def _opened(self, opening: asyncio.Task[None]) -> None:
        if opening.cancelled():
            return
        error = opening.exception()
        if error is not None:
            self._state = "ejected"
            reason = " ".join(str(error).split())
            _log.error(
                "embedder %s cannot be loaded: %s: %s", self._name, type(error).__name__, reason
            )
