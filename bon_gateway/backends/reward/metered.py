"""Measures any reward backend: the duration of each call, and how many fail."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bon_gateway.errors import RewardError
from bon_gateway.metrics import Metrics
from bon_gateway.protocols import RewardBackend
from bon_gateway.types import Message, RewardRequest, Scores


class MeteredReward:
    """A RewardBackend that measures another one, to which it passes everything on."""

    def __init__(self, name: str, backend: RewardBackend, metrics: Metrics) -> None:
        self._name = name
        self._backend = backend
        self._metrics = metrics
        self.announces = backend.announces
        self.non_text_parts = backend.non_text_parts
        self.start = backend.start
        self.ready = backend.ready
        self.warming = backend.warming
        self.health = backend.health
        self.troubles = backend.troubles
        self.close = backend.close
        self.announce = backend.announce

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        started = time.perf_counter()
        try:
            scores = await self._backend.score(request, completions)
        except RewardError as error:
            self._observe(started, error)
            raise
        self._observe(started, scores.refusal)
        return scores

    def _observe(self, started: float, error: RewardError | None) -> None:
        code = None if error is None else error.code
        self._metrics.observe_score(self._name, time.perf_counter() - started, code)
