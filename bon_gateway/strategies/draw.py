"""Draws candidates, has each scored as it finishes, and draws again what failed.

This is the gateway's one retry layer: backends report a failure and never retry by themselves.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from typing import Any

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
from bon_gateway.strategies.failures import Failures
from bon_gateway.strategies.scoring import Scoring
from bon_gateway.strategies.validity import AnswerCheck, Question, Verdict
from bon_gateway.types import (
    Candidate,
    CandidateStatus,
    ChatRequest,
    Completion,
    Sample,
    Timings,
)
from bon_gateway.unexpected import log_unexpected

LEAST_SCORING_GRACE_S = 0.1

_log = logging.getLogger(__name__)


class Plan(msgspec.Struct, frozen=True):
    """How many to draw and when to stop."""

    drawn: int
    keep: int
    """The draw ends when so many usable candidates have arrived; the rest is stopped."""
    deadline: float | None
    """Seconds from the start."""
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
    """Why rewards are missing, if the reward model cost any: first what may pass by itself."""
    timings: Timings
    deadline_passed: bool


def draw(
    request: ChatRequest,
    policy: PolicyBackend,
    reward: RewardBackend | None,
    plan: Plan,
    check: AnswerCheck,
    trace: Trace,
) -> Coroutine[Any, Any, Drawn]:
    """Draw ``plan.drawn`` candidates of ``request``.

    Raises BadRequestError, before anything is drawn, for a conversation that ``reward`` cannot
    read, and DeadlineError if fewer than ``plan.min_candidates`` usable ones had arrived when the
    deadline passed. Cancelling it aborts everything that runs, at the engines too.
    """
    return _Draw(request, policy, reward, plan, check, trace).run()


class _Draw:
    def __init__(
        self,
        request: ChatRequest,
        policy: PolicyBackend,
        reward: RewardBackend | None,
        plan: Plan,
        check: AnswerCheck,
        trace: Trace,
    ) -> None:
        self._request = request
        self._policy = policy
        self._plan = plan
        self._check = check
        self._trace = trace
        trace.count_tokens = plan.may_stop_early
        self._tasks = tasks = asyncio.TaskGroup()
        self._scoring: Scoring | None = None
        if reward is not None:
            view = RewardView.of(request, check.thinking, check.prefill, reward.non_text_parts)
            self._scoring = Scoring(view, reward, tasks, plan.retries)
        self._pumps: list[asyncio.Task[None]] = []
        self._enough = asyncio.Event()
        self._attempts: defaultdict[int, int] = defaultdict(int)
        self._again: list[int] = []
        """Failed candidates that are about to be drawn again."""
        self._failures = Failures(request.request_id)
        self._ended: dict[int, Candidate] = {}
        """Without their rewards."""
        self._usable = 0

    async def run(self) -> Drawn:
        plan, scoring = self._plan, self._scoring
        async with self._tasks:
            try:
                timings, deadline_passed = await self._draw_and_score()
            finally:
                # What arrives from now on is too late, and the group takes no task any more.
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
        """The times that it took, and whether the deadline ended the drawing."""
        started = time.monotonic()
        timer: asyncio.TimerHandle | None = None
        if self._plan.deadline is not None:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(self._plan.deadline, self._enough.set)
        try:
            if self._scoring is not None:
                self._scoring.announce()
            first = self._sample(range(self._plan.drawn))
            if self._plan.may_stop_early:
                self._pumps.append(self._tasks.create_task(first))
            else:
                # Nothing is to stop it before its own end, so that it needs no task.
                await first
            if not self._enough.is_set():
                await self._enough.wait()
        finally:
            if timer is not None:
                timer.cancel()
        deadline_passed = not self._complete()
        for pump in self._pumps:
            pump.cancel()
        generated = time.monotonic()
        if self._scoring is not None:
            await self._scoring.settle(self._scoring_grace(deadline_passed))
        scored = time.monotonic()
        return Timings(generate=generated - started, score=scored - generated), deadline_passed

    def _scoring_grace(self, deadline_passed: bool) -> float | None:
        """Seconds left to score what arrived before the deadline."""
        if not deadline_passed or self._plan.deadline is None:
            return None
        return max(0.1 * self._plan.deadline, LEAST_SCORING_GRACE_S)

    async def _sample(self, indices: Sequence[int]) -> None:
        missing = set(indices)

        def report(sample: Sample) -> None:
            missing.discard(sample.index)
            try:
                self._arrived(sample)
            except Exception as error:  # noqa: BLE001 - an answer that a check chokes on is one lost
                self._choked(sample.index, error)

        await self._policy.sample(self._request, indices, self._trace, report)
        for index in sorted(missing):
            report(Sample(index, PolicyFailedError("the policy backend gave no candidate")))

    def _arrived(self, sample: Sample) -> None:
        if self._enough.is_set():
            return
        index, outcome = sample.index, sample.outcome
        if isinstance(outcome, Completion):
            self._take(index, outcome)
        else:
            again = outcome.retryable and self._attempts[index] < self._plan.retries
            self._failures.add(outcome, again=again)
            if again:
                self._attempts[index] += 1
                self._draw_again(index, outcome)
                return
            self._fail(index, outcome)
        if self._complete():
            self._enough.set()

    def _choked(self, index: int, error: Exception) -> None:
        fields = {"request_id": self._request.request_id, "candidate": index}
        log_unexpected(_log, "a candidate could not be judged", error, fields)
        self._fail(index, PolicyFailedError("the candidate could not be judged"))
        if self._complete():
            self._enough.set()

    def _complete(self) -> bool:
        return self._usable >= self._plan.keep or len(self._ended) >= self._plan.drawn

    def _draw_again(self, index: int, error: GatewayError) -> None:
        """Together with all that fail in this turn of the loop, as one call's candidates do.

        But where a candidate may have spoilt the answer that held them all, each is drawn apart:
        the same seed would spoil it again.
        """
        if not self._again:
            delay = random.uniform(0.05, 0.2) if isinstance(error, PolicyOverloadedError) else 0.0
            apart = isinstance(error, PolicyFailedError) and error.spoilt
            self._pumps.append(self._tasks.create_task(self._sample_again(delay, apart)))
        self._again.append(index)

    async def _sample_again(self, delay: float, apart: bool) -> None:
        again, self._again = self._again, []
        await asyncio.sleep(delay)
        if not apart:
            await self._sample(again)
            return
        async with asyncio.TaskGroup() as tasks:
            for index in again:
                tasks.create_task(self._sample([index]))

    def _take(self, index: int, completion: Completion) -> None:
        verdict = self._check.judge(completion)
        if isinstance(verdict, Verdict):
            self._end(index, completion, verdict)
            return
        # Only where a schema is too costly for this loop. Like a pump it may be stopped.
        asking = self._tasks.create_task(self._take_later(index, completion, verdict))
        self._pumps.append(asking)

    async def _take_later(
        self, index: int, completion: Completion, questions: Sequence[Question]
    ) -> None:
        verdict = await self._check.answer(questions)
        if self._enough.is_set():
            return
        self._end(index, completion, verdict)
        if self._complete():
            self._enough.set()

    def _end(self, index: int, completion: Completion, verdict: Verdict) -> None:
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

    def _fail(self, index: int, error: GatewayError) -> None:
        self._ended[index] = Candidate(
            index,
            CandidateStatus.FAILED,
            tokens=self._trace.tokens.get(index, 0),
            error=error,
            reason=error.code,
        )

    def _candidates(self, stopped_by: str) -> tuple[Candidate, ...]:
        scoring = self._scoring
        candidates = []
        for index in range(self._plan.drawn):
            ended = self._ended.get(index)
            if ended is None:
                ended = Candidate(
                    index,
                    CandidateStatus.REJECTED,
                    tokens=self._trace.tokens.get(index, 0),
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
