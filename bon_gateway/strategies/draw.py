"""Draws candidates, has each scored as it finishes, and draws again what failed.

This is the gateway's one retry layer: backends report a failure and never retry by themselves.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from bon_gateway.errors import (
    DeadlineError,
    GatewayError,
    PolicyFailedError,
    PolicyOverloadedError,
    RewardError,
)
from bon_gateway.protocols import PolicyBackend, RewardBackend, Trace
from bon_gateway.strategies.conversation import RewardView
from bon_gateway.strategies.decide import USABLE
from bon_gateway.strategies.failures import CandidateFailures
from bon_gateway.strategies.scoring import Scoring
from bon_gateway.strategies.validity import AnswerCheck, SchemaQuestion, Validity
from bon_gateway.types import Candidate, CandidateStatus, ChatRequest, Completion, Sample, Timings
from bon_gateway.unexpected import log_unexpected

LEAST_SCORING_GRACE_S = 0.1

_log = logging.getLogger(__name__)


class Plan(msgspec.Struct, frozen=True):
    """How many to draw and when to stop."""

    drawn: int
    keep: int
    """The draw ends when this many usable candidates have arrived; the rest is stopped."""
    deadline: float | None
    """Seconds from the start; None waits for all."""
    min_candidates: int
    retries: int

    @property
    def may_stop_early(self) -> bool:
        return self.keep < self.drawn or self.deadline is not None


class Drawn(msgspec.Struct, frozen=True):
    """All candidates of one request, by index."""

    candidates: tuple[Candidate, ...]
    reward_tokens: int
    reward_errors: tuple[RewardError, ...]
    """Why rewards are missing, if any are; those that may pass by themselves come first."""
    timings: Timings
    deadline_passed: bool


@dataclass(eq=False)
class Draw:
    """Draws ``plan.drawn`` candidates of ``request``; used once.

    Making it raises BadRequestError for a conversation that ``reward`` cannot read.
    """

    request: ChatRequest
    policy: PolicyBackend
    reward: RewardBackend | None
    plan: Plan
    check: AnswerCheck
    trace: Trace

    def __post_init__(self) -> None:
        self.trace.count_tokens = self.plan.may_stop_early
        self._tasks = asyncio.TaskGroup()
        self._scoring: Scoring | None = None
        if self.reward is not None:
            check, parts = self.check, self.reward.non_text_parts
            view = RewardView.of(self.request, check.thinking, check.prefill, parts)
            self._scoring = Scoring(view, self.reward, self._tasks, self.plan.retries)
        self._pumps: list[asyncio.Task[None]] = []
        """Tasks that bring candidates; they are stopped when there are enough."""
        self._enough = asyncio.Event()
        self._attempts: defaultdict[int, int] = defaultdict(int)
        self._again: list[int] = []
        """Failed candidates that are about to be drawn again."""
        self._failures = CandidateFailures(self.request.request_id)
        self._ended: dict[int, Candidate] = {}
        """Candidates that have ended, without their rewards."""
        self._usable = 0

    async def run(self) -> Drawn:
        """Raises DeadlineError if fewer than ``plan.min_candidates`` usable candidates had arrived
        when the deadline passed. Cancelling it aborts everything that runs, at the engines too."""
        plan, scoring = self.plan, self._scoring
        # The group outlives the drawing by what still scores: leaving it waits for all its tasks,
        # and a client that leaves cancels them with it.
        async with self._tasks:
            try:
                timings, deadline_passed = await self._draw_and_score()
            finally:
                # What arrives from now on is too late: a group that is being left takes no new
                # task, so nothing may be drawn again or sent to be scored.
                self._enough.set()
                if scoring is not None:
                    scoring.close()
                self._failures.log()
        if deadline_passed and self._usable < plan.min_candidates:
            raise DeadlineError(
                f"{self._usable} of the {plan.min_candidates} candidates that are needed had"
                f" arrived within {plan.deadline} s"
            )
        return Drawn(
            candidates=self._candidates("deadline" if deadline_passed else "straggler"),
            reward_tokens=0 if scoring is None else scoring.tokens,
            reward_errors=self._reward_errors(),
            timings=timings,
            deadline_passed=deadline_passed,
        )

    async def _draw_and_score(self) -> tuple[Timings, bool]:
        """Timings, and whether the deadline ended the drawing."""
        started = time.monotonic()
        timer: asyncio.TimerHandle | None = None
        if self.plan.deadline is not None:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(self.plan.deadline, self._enough.set)
        try:
            if self._scoring is not None:
                self._scoring.announce()
            first = self._sample(range(self.plan.drawn))
            if self.plan.may_stop_early:
                self._pumps.append(self._tasks.create_task(first))
            else:
                # Nothing stops it before its own end, so it runs here and needs no task.
                await first
            # Not set yet if something is being drawn again, or a schema is still checked.
            if not self._enough.is_set():
                await self._enough.wait()
        finally:
            if timer is not None:
                timer.cancel()
        # The event only says that drawing is over. Both the timer and the last candidate set it;
        # which of them came first shows in what has arrived.
        deadline_passed = not self._complete()
        for pump in self._pumps:
            pump.cancel()
        generated = time.monotonic()
        if self._scoring is not None:
            await self._scoring.settle(self._scoring_grace(deadline_passed))
        scored = time.monotonic()
        return Timings(generate=generated - started, score=scored - generated), deadline_passed

    def _scoring_grace(self, deadline_passed: bool) -> float | None:
        """Seconds for scoring what arrived before the deadline; None waits."""
        if not deadline_passed or self.plan.deadline is None:
            return None
        return max(0.1 * self.plan.deadline, LEAST_SCORING_GRACE_S)

    async def _sample(self, indices: Sequence[int]) -> None:
        missing = set(indices)

        def report(sample: Sample) -> None:
            missing.discard(sample.index)
            try:
                self._arrived(sample)
            except Exception as error:  # noqa: BLE001 - one answer breaks a check: one is lost
                fields = {"request_id": self.request.request_id, "candidate": sample.index}
                log_unexpected(_log, "a candidate could not be judged", error, fields)
                lost = PolicyFailedError("the candidate could not be judged")
                self._fail(sample.index, lost)

        await self.policy.sample(self.request, indices, self.trace, report)
        for index in sorted(missing):
            report(Sample(index, PolicyFailedError("the policy backend gave no candidate")))

    def _arrived(self, sample: Sample) -> None:
        # Policies may report after they were cancelled. A candidate that comes too late must not
        # change what is being answered.
        if self._enough.is_set():
            return
        index, outcome = sample.index, sample.outcome
        if isinstance(outcome, Completion):
            self._take(index, outcome)
            return
        again = outcome.retryable and self._attempts[index] < self.plan.retries
        self._failures.add(outcome, again=again)
        if again:
            self._attempts[index] += 1
            self._draw_again(index, outcome)
        else:
            self._fail(index, outcome)

    def _complete(self) -> bool:
        return self._usable >= self.plan.keep or len(self._ended) >= self.plan.drawn

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
        if not apart:
            await self._sample(again)
            return
        async with asyncio.TaskGroup() as tasks:
            for index in again:
                tasks.create_task(self._sample([index]))

    def _take(self, index: int, completion: Completion) -> None:
        verdict = self.check.judge(completion)
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
        verdict = await self.check.answer(questions)
        if self._enough.is_set():
            return
        self._end(index, completion, verdict)

    def _end(self, index: int, completion: Completion, verdict: Validity) -> None:
        self._ended[index] = Candidate(
            index,
            verdict.status,
            completion,
            tokens=completion.tokens,
            reason=verdict.reason,
            tier=verdict.tier,
        )
        if verdict.status in USABLE:
            self._usable += 1
            if self._scoring is not None:
                self._scoring.submit(index, completion)
        self._end_if_complete()

    def _fail(self, index: int, error: GatewayError) -> None:
        self._ended[index] = Candidate(
            index,
            CandidateStatus.FAILED,
            tokens=self.trace.tokens.get(index, 0),
            error=error,
            reason=error.code,
        )
        self._end_if_complete()

    def _end_if_complete(self) -> None:
        if self._complete():
            self._enough.set()

    def _candidates(self, stopped_by: str) -> tuple[Candidate, ...]:
        scoring = self._scoring
        candidates = []
        for index in range(self.plan.drawn):
            ended = self._ended.get(index)
            if ended is None:
                ended = Candidate(
                    index,
                    CandidateStatus.REJECTED,
                    tokens=self.trace.tokens.get(index, 0),
                    reason=stopped_by,
                )
            elif scoring is not None and (reward := scoring.reward(index)) is not None:
                ended = msgspec.structs.replace(ended, reward=reward)
            candidates.append(ended)
        return tuple(candidates)

    def _reward_errors(self) -> tuple[RewardError, ...]:
        if self._scoring is None:
            return ()
        return self._scoring.losses(i for i, c in self._ended.items() if c.status in USABLE)
