"""The candidates of one request as they arrive: asked for, asked for again, judged.

This is the gateway's one retry layer: backends report a failure and never retry by themselves.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Sequence

from bon_gateway.errors import GatewayError, PolicyFailedError, PolicyOverloadedError
from bon_gateway.protocols import CandidateSource, Trace
from bon_gateway.strategies.decide import USABLE
from bon_gateway.strategies.failures import CandidateFailures
from bon_gateway.strategies.validity import AnswerCheck, SchemaQuestion, Validity
from bon_gateway.strategies.verification import Verdicts, Verification, tier_of
from bon_gateway.types import Candidate, CandidateStatus, ChatRequest, Completion, Sample
from bon_gateway.unexpected import log_unexpected

_log = logging.getLogger(__name__)


class Arrivals:
    """Asks ``policy`` for candidates, in one wave or in several. Its tasks belong to the caller's
    TaskGroup. The caller must call ``close`` before it leaves that group, which takes no new tasks
    then.

    ``keep`` usable candidates are enough. ``retries`` says how often a failed one is asked for
    again. ``on_usable`` is called with each usable candidate as it ends, and ``on_ended`` with the
    index of each candidate that has ended. With a ``verification`` a candidate ends with its
    verdicts, and one that is refuted is not usable.
    """

    def __init__(
        self,
        request: ChatRequest,
        policy: CandidateSource,
        check: AnswerCheck,
        trace: Trace,
        tasks: asyncio.TaskGroup,
        *,
        keep: int,
        retries: int,
        verification: Verification | None = None,
        on_usable: Callable[[int, Completion], None],
        on_ended: Callable[[int], None],
    ) -> None:
        self._request = request
        self._policy = policy
        self._check = check
        self._trace = trace
        self._tasks = tasks
        self._keep = keep
        self._retries = retries
        self._verification = verification
        self._unverified: dict[int, tuple[Completion, Validity]] = {}
        """Candidates that wait for their verdicts."""
        self._on_usable = on_usable
        self._on_ended = on_ended
        self._pumps: list[asyncio.Task[None]] = []
        """Tasks that bring candidates; they are stopped when there are enough."""
        self._enough = asyncio.Event()
        self._attempts: defaultdict[int, int] = defaultdict(int)
        self._again: list[int] = []
        """Failed candidates that are about to be asked for again."""
        self._failures = CandidateFailures(request.request_id)
        self.asked = 0
        """Candidates asked for so far: those below this index."""
        self.ended: dict[int, Candidate] = {}
        """Candidates that have ended, without their rewards."""
        self.usable = 0
        self.refuted = 0

    @property
    def complete(self) -> bool:
        return self.usable >= self._keep or len(self.ended) >= self.asked

    async def ask(self, more: int, *, may_stop_early: bool) -> None:
        """Ask for ``more`` candidates and wait until they are complete, or until ``stop``."""
        indices = range(self.asked, self.asked + more)
        self.asked += more
        self._enough.clear()
        first = self._sample(indices)
        if may_stop_early:
            self._pumps.append(self._tasks.create_task(first))
        else:
            # Nothing stops it before its own end, so it runs here and needs no task.
            await first
        # Not set yet if something is being drawn again, or a schema is still checked.
        if not self._enough.is_set():
            await self._enough.wait()
        for pump in self._pumps:
            pump.cancel()
        self._pumps.clear()
        self._unverified.clear()

    def stop(self) -> None:
        """Take nothing that arrives from now on, until more is asked for."""
        self._enough.set()

    def pass_deadline(self) -> bool:
        """End candidates that wait for verdicts, because time is up. Returns whether there were
        any."""
        waiting = [i for i in self._unverified if i not in self.ended]
        for index in waiting:
            completion, validity = self._unverified[index]
            if self._verification is not None:
                verdicts = self._verification.give_up(completion)
                self._finish(index, completion, validity, verdicts)
        self.stop()
        return bool(waiting)

    def close(self) -> None:
        """Take nothing more and log what failed. Call it once."""
        self.stop()
        self._failures.log()

    def candidate(self, index: int, stopped_by: str) -> Candidate:
        """The candidate without its reward; ``stopped_by`` is the reason if it has not ended."""
        ended = self.ended.get(index)
        if ended is not None and ended.status is not CandidateStatus.REJECTED:
            return ended
        return Candidate(
            index,
            CandidateStatus.REJECTED,
            # An engine may still generate when a candidate is rejected, so they are counted now.
            tokens=self._trace.tokens.get(index, 0),
            reason=stopped_by if ended is None else ended.reason,
        )

    def reject(self, index: int, reason: str) -> None:
        """End a running candidate. Later reports of it are ignored."""
        self._ends(Candidate(index, CandidateStatus.REJECTED, reason=reason))

    async def _sample(self, indices: Sequence[int]) -> None:
        missing = set(indices)

        def report(sample: Sample) -> None:
            missing.discard(sample.index)
            try:
                self._arrived(sample)
            except Exception as error:  # noqa: BLE001 - one answer breaks a check: one is lost
                fields = {"request_id": self._request.request_id, "candidate": sample.index}
                log_unexpected(_log, "a candidate could not be judged", error, fields)
                lost = PolicyFailedError("the candidate could not be judged")
                self._fail(sample.index, lost)

        await self._policy.sample(self._request, indices, self._trace, report)
        for index in sorted(missing):
            report(Sample(index, PolicyFailedError("the policy backend gave no candidate")))

    def _arrived(self, sample: Sample) -> None:
        # Policies may report after they were cancelled. A candidate that comes too late, or again
        # during a later wave, must not change what is being answered.
        known = sample.index in self.ended or sample.index in self._unverified
        if self._enough.is_set() or known:
            return
        index, outcome = sample.index, sample.outcome
        if isinstance(outcome, Completion):
            self._take(index, outcome)
            return
        again = outcome.retryable and self._attempts[index] < self._retries
        self._failures.add(outcome, again=again)
        if again:
            self._attempts[index] += 1
            self._draw_again(index, outcome)
        else:
            self._fail(index, outcome)

    def _draw_again(self, index: int, error: GatewayError) -> None:
        """All that fail in one turn of the event loop are drawn again in one call, because one
        failed call fails all its candidates in the same turn.

        If one candidate may have spoilt the answer that held them all, each is drawn alone: the
        same seed would spoil it again.
        """
        if not self._again:
            delay = random.uniform(0.05, 0.2) if isinstance(error, PolicyOverloadedError) else 0.0
            apart = isinstance(error, PolicyFailedError) and error.spoilt
            self._pumps.append(self._tasks.create_task(self._sample_again(delay, apart)))
        self._again.append(index)

    async def _sample_again(self, delay: float, apart: bool) -> None:
        # This task first runs in the next turn of the loop, when all failures of one turn are here.
        again, self._again = self._again, []
        await asyncio.sleep(delay)
        # One may have been rejected meanwhile.
        again = [index for index in again if index not in self.ended]
        if not again:
            return
        if not apart:
            await self._sample(again)
            return
        async with asyncio.TaskGroup() as tasks:
            for index in again:
                tasks.create_task(self._sample([index]))

    def _take(self, index: int, completion: Completion) -> None:
        verdict = self._check.judge(completion)
        if isinstance(verdict, Validity):
            self._end(index, completion, verdict)
            return
        # The schema is too costly for this loop, so the checking process is asked. The task may be
        # stopped as a pump may: a candidate whose check has not ended is one that is not there.
        asking = self._tasks.create_task(self._take_later(index, completion, verdict))
        self._pumps.append(asking)

    async def _take_later(
        self, index: int, completion: Completion, questions: Sequence[SchemaQuestion]
    ) -> None:
        verdict = await self._check.answer(questions)
        if self._enough.is_set():
            return
        self._end(index, completion, verdict)

    def _end(self, index: int, completion: Completion, verdict: Validity) -> None:
        if self._verification is None or verdict.status not in USABLE:
            self._finish(index, completion, verdict, None)
            return
        self._unverified[index] = completion, verdict
        waiting = self._verify(self._verification, index, completion, verdict)
        self._pumps.append(self._tasks.create_task(waiting))

    async def _verify(
        self, verification: Verification, index: int, completion: Completion, validity: Validity
    ) -> None:
        verdicts = await verification.verify(completion)
        # It may have been rejected meanwhile.
        if not self._enough.is_set() and index not in self.ended:
            self._finish(index, completion, validity, verdicts)

    def _finish(
        self, index: int, completion: Completion, validity: Validity, verdicts: Verdicts | None
    ) -> None:
        candidate = Candidate(
            index,
            validity.status,
            completion,
            tokens=completion.tokens,
            reason=validity.reason,
            tier=tier_of(validity.tier, verdicts),
            verdicts=verdicts,
        )
        if candidate.refuted:
            self.refuted += 1
        elif validity.status in USABLE:
            self.usable += 1
            self._on_usable(index, completion)
        self._ends(candidate)

    def _fail(self, index: int, error: GatewayError) -> None:
        self._ends(
            Candidate(
                index,
                CandidateStatus.FAILED,
                tokens=self._trace.tokens.get(index, 0),
                error=error,
                reason=error.code,
            )
        )

    def _ends(self, candidate: Candidate) -> None:
        self.ended[candidate.index] = candidate
        self._on_ended(candidate.index)
        if self.complete:
            self.stop()
