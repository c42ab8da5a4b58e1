"""Measures any reward backend: the time of each call, and how many failed."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bon_gateway.errors import RewardError
from bon_gateway.metrics import Metrics
from bon_gateway.protocols import RewardBackend
from bon_gateway.types import Message, NonTextParts, RewardRequest, Scores


class MeteredReward:
    """A RewardBackend that is another one, measured."""

    def __init__(self, name: str, backend: RewardBackend, metrics: Metrics) -> None:
        self._name = name
        self._backend = backend
        self._metrics = metrics

    @property
    def non_text_parts(self) -> NonTextParts:
        return self._backend.non_text_parts

    @property
    def announces(self) -> bool:
        return self._backend.announces

    async def announce(self, request: RewardRequest) -> None:
        await self._backend.announce(request)

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

    async def start(self) -> None:
        await self._backend.start()

    def ready(self) -> bool:
        return self._backend.ready()

    def warming(self) -> bool:
        return self._backend.warming()

    def health(self) -> dict[str, str]:
        return self._backend.health()

    def troubles(self) -> dict[str, str]:
        return self._backend.troubles()

    async def close(self) -> None:
        await self._backend.close()
