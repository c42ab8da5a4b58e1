"""The sentence model in the gateway's own process, loaded without blocking.

Requests take turns, because a forward pass uses all threads anyway. ``network`` has what needs
torch; only ``start`` imports it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from importlib import import_module

from bon_gateway.backends.embedder.in_process_settings import InProcessEmbedderSettings
from bon_gateway.backends.in_process import InProcessModel
from bon_gateway.errors import EmbedderError
from bon_gateway.types import Caller, Vector

WARM_UP = "Hi"
_log = logging.getLogger(__name__)

EmbedTexts = Callable[[Sequence[str]], list[Vector]]
LoadEmbedder = Callable[[InProcessEmbedderSettings], EmbedTexts]


def _load(settings: InProcessEmbedderSettings) -> EmbedTexts:
    module = import_module("bon_gateway.backends.embedder.network")
    loaded: EmbedTexts = module.load_sentence_model(settings)
    return loaded


class InProcessEmbedder(InProcessModel):
    """An Embedder over a transformers model. A forward pass that runs when it is closed ends by
    itself."""

    kind = "embedder"

    def __init__(self, settings: InProcessEmbedderSettings, *, load: LoadEmbedder = _load) -> None:
        """``load`` is called in a thread of its own. Tests pass their own models with it."""
        super().__init__(settings.model)
        self._settings = settings
        self._load = load
        self._embed: EmbedTexts | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def embed(self, texts: Sequence[str], caller: Caller | None) -> list[Vector]:
        embed = self._embed
        if embed is None or not self.ready():
            raise EmbedderError(self._not_up())
        if self._waiting >= self._settings.max_queue:
            raise EmbedderError(f"the embedder {self._name} has too many requests")
        self._waiting += 1
        try:
            read = [self._settings.read(text) for text in texts]
            size = self._settings.batch
            found: list[Vector] = []
            # Other requests take turns between two batches, and a client that leaves stops here.
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
        embed = await self._load_alone(lambda: self._load(self._settings))
        await asyncio.to_thread(embed, [WARM_UP])
        self._embed = embed

    async def _release(self) -> None:
        self._embed = None
