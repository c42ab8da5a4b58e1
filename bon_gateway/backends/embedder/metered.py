"""Measures any embedder: the duration of each call, and how many fail."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bon_gateway.errors import EmbedderError
from bon_gateway.metrics import Metrics
from bon_gateway.protocols import Embedder
from bon_gateway.types import Caller, Vector


class MeteredEmbedder:
    """An Embedder that measures another one."""

    def __init__(self, name: str, backend: Embedder, metrics: Metrics) -> None:
        self._name = name
        self._backend = backend
        self._metrics = metrics
        self.start = backend.start
        self.ready = backend.ready
        self.health = backend.health
        self.troubles = backend.troubles
        self.close = backend.close

    async def embed(self, texts: Sequence[str], caller: Caller | None) -> Sequence[Vector]:
        started = time.perf_counter()
        error: EmbedderError | None = None
        try:
            return await self._backend.embed(texts, caller)
        except EmbedderError as failed:
            error = failed
            raise
        finally:
            code = None if error is None else error.code
            self._metrics.observe_embedding(self._name, time.perf_counter() - started, code)
