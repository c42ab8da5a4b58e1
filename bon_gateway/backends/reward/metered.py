"""Measures any reward backend: the duration of each call, and how many fail."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bon_gateway.backends.reward.wrapped import WrappedReward
from bon_gateway.errors import RewardError
from bon_gateway.metrics import Metrics
from bon_gateway.protocols import RewardBackend
from bon_gateway.types import Message, RewardRequest, Scores


class MeteredReward(WrappedReward):
    """A RewardBackend that measures another one."""

    def __init__(self, name: str, backend: RewardBackend, metrics: Metrics) -> None:
        super().__init__(backend)
        self._name = name
        self._metrics = metrics

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        started = time.perf_counter()
        try:
            scores = await self._backend.score(request, completions)
        except RewardError as error:
            self._observe(started, error)
            raise
        self._observe(started, scores.missing)
        if scores.judging is not None:
            self._metrics.observe_judging(self._name, scores.judging)
        return scores

    def _observe(self, started: float, error: RewardError | None) -> None:
        code = None if error is None else error.code
        self._metrics.observe_score(self._name, time.perf_counter() - started, code)
