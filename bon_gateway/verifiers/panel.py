"""The verifiers of one served model, which check each candidate.

Verifiers that compute their verdict here come first. If none of them fails the answer, those that
ask a server follow, all at the same time: a call for a failed answer would be wasted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Literal

from bon_gateway.metrics import Metrics
from bon_gateway.types import Message, RewardRequest
from bon_gateway.unexpected import log_unexpected
from bon_gateway.verdicts import Verdict, VerdictOutcome, abstained
from bon_gateway.verifiers.verifier import Verifier

DEADLINE = "deadline"
_log = logging.getLogger(__name__)


class VerifierPanel:
    """The ``Verifiers`` of the served model ``model``, by their names."""

    def __init__(
        self,
        model: str,
        verifiers: Mapping[str, Verifier],
        on_all_failed: Literal["best", "error"],
        metrics: Metrics,
    ) -> None:
        self._model = model
        self._verifiers = verifiers
        self.on_all_failed: Literal["best", "error"] = on_all_failed
        self._metrics = metrics

    async def start(self) -> None:
        for verifier in self._verifiers.values():
            await verifier.start()

    async def close(self) -> None:
        for verifier in self._verifiers.values():
            await verifier.close()

    async def verify(
        self, request: RewardRequest, answer: Message, verdicts: dict[str, Verdict]
    ) -> None:
        asking = {}
        for name, verifier in self._verifiers.items():
            if verifier.asks:
                asking[name] = verifier
            else:
                verdicts[name] = await self._verdict(name, verifier, request, answer)
        if _failed(verdicts):
            return

        async def ask(name: str, verifier: Verifier) -> None:
            verdicts[name] = await self._verdict(name, verifier, request, answer)

        if len(asking) == 1:
            # Most models have one, and a task for it would be a third of the work.
            await ask(*asking.popitem())
            return
        async with asyncio.TaskGroup() as tasks:
            for name, verifier in asking.items():
                tasks.create_task(ask(name, verifier))

    def give_up(self, verdicts: dict[str, Verdict]) -> None:
        if _failed(verdicts):
            return
        for name in self._verifiers.keys() - verdicts.keys():
            verdicts[name] = abstained(DEADLINE)
            self._metrics.observe_verdict(self._model, name, VerdictOutcome.ABSTAIN, None)

    async def _verdict(
        self, name: str, verifier: Verifier, request: RewardRequest, answer: Message
    ) -> Verdict:
        started = time.perf_counter()
        try:
            [verdict] = await verifier.verify(request, [answer])
        except Exception as error:  # noqa: BLE001 - one answer breaks a verifier: one verdict is lost
            fields = {"request_id": request.request_id, "verifier": name}
            log_unexpected(_log, "an answer could not be verified", error, fields)
            verdict = abstained("error")
        seconds = time.perf_counter() - started
        self._metrics.observe_verdict(self._model, name, verdict.outcome, seconds)
        if verdict.judging is not None:
            self._metrics.observe_judging(f"{self._model}/{name}", verdict.judging)
        return verdict


def _failed(verdicts: Mapping[str, Verdict]) -> bool:
    return any(verdict.outcome is VerdictOutcome.FAIL for verdict in verdicts.values())
