"""Measures any reward backend: duration and failures of calls, and the cost of judging."""

from __future__ import annotations

import time
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import msgspec

from bon_gateway.backends.reward.wrapped import WrappedReward
from bon_gateway.errors import RewardError
from bon_gateway.judging import JudgeBill, JudgeUsage
from bon_gateway.metrics import Metrics
from bon_gateway.protocols import RewardBackend
from bon_gateway.types import Message, RewardRequest, Scores


class MeteredReward(WrappedReward):
    """A RewardBackend that measures another one."""

    def __init__(self, name: str, backend: RewardBackend, metrics: Metrics) -> None:
        super().__init__(backend)
        self._name = name
        self._metrics = metrics
        self._own: WeakKeyDictionary[RewardRequest, RewardRequest] = WeakKeyDictionary()

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        started = time.perf_counter()
        try:
            scores = await self._backend.score(self._with_own_bill(request), completions)
        except RewardError as error:
            self._observe(started, error)
            raise
        self._observe(started, scores.missing)
        return scores

    def _with_own_bill(self, request: RewardRequest) -> RewardRequest:
        """The same request, for all calls about it, with a bill for this reward alone. Payments are
        counted as they are made, because a cancelled call returns nothing."""
        own = self._own.get(request)
        if own is None:
            whole = request.bill

            def paid(usage: JudgeUsage) -> None:
                whole.add(usage)
                self._metrics.observe_judging(self._name, usage)

            own = msgspec.structs.replace(request, bill=JudgeBill(paid))
            self._own[request] = own
        return own

    def _observe(self, started: float, error: RewardError | None) -> None:
        code = None if error is None else error.code
        self._metrics.observe_score(self._name, time.perf_counter() - started, code)
