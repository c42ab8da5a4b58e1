"""Draws candidates, at once or in waves, and has each scored as it finishes.

``arrivals`` asks the policy for them, and again for what failed. Here is what holds a request
together: its deadline, its waves, and the group of tasks that a client's leaving cancels.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from bon_gateway.errors import DeadlineError, RewardError
from bon_gateway.judging import JudgeUsage
from bon_gateway.protocols import CandidateSource, RewardBackend, Trace
from bon_gateway.strategies.arrivals import Arrivals
from bon_gateway.strategies.checkpoints import CandidateWatch, Looking
from bon_gateway.strategies.conversation import RewardView
from bon_gateway.strategies.decide import USABLE
from bon_gateway.strategies.scoring import Scoring
from bon_gateway.strategies.validity import AnswerCheck
from bon_gateway.strategies.verification import PARTS, Verification
from bon_gateway.strategies.waves import WaveRule
from bon_gateway.types import Candidate, ChatRequest, Completion, Pruning, Stopped, Timings

SCORING_GRACE = 0.1
"""Share of the deadline that scoring may take beyond it: what arrived just before it must not win
or lose for want of a reward."""
LEAST_SCORING_GRACE_S = 0.1


class Plan(msgspec.Struct, frozen=True):
    """How many to draw and when to stop."""

    drawn: int
    """With waves, the most that they may draw together."""
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
    judging: JudgeUsage | None = None
    """Cost of verdicts from chat models, if any was asked."""
    left_out: Sequence[str] = ()
    """Members of an ensemble that could not score."""
    refuted_may_win: bool = True
    """Whether the best candidate is the answer if the verifiers fail them all."""
    rounds: int = 1
    stopped: Stopped | None = None
    pruning: Pruning | None = None
    """See ``Selection``."""


@dataclass(eq=False)
class Draw:
    """Draws candidates of ``request``; used once. Without a ``rule`` it draws ``plan.drawn`` at
    once, with one as many waves as that asks for. ``looking`` looks at them before their end.

    Making it raises BadRequestError for a conversation that ``reward`` cannot read.
    """

    request: ChatRequest
    policy: CandidateSource
    reward: RewardBackend | None
    plan: Plan
    check: AnswerCheck
    trace: Trace
    rule: WaveRule | None = None
    looking: Looking | None = None

    def __post_init__(self) -> None:
        plan, check = self.plan, self.check
        self.trace.count_tokens = plan.may_stop_early
        self._tasks = asyncio.TaskGroup()
        self._scoring: Scoring | None = None
        if self.reward is not None:
            parts = self.reward.non_text_parts
            view = RewardView.of(
                self.request, check.thinking, check.prefill, parts, self.trace.bill
            )
            self._scoring = Scoring(view, self.reward, self._tasks, plan.retries)
        self._verification: Verification | None = None
        if self.trace.verifiers is not None:
            whole = RewardView.of(
                self.request, check.thinking, check.prefill, PARTS, self.trace.bill
            )
            self._verification = Verification(whole, self.trace.verifiers, self._tasks)
        self._arrivals = Arrivals(
            self.request,
            self.policy,
            check,
            self.trace,
            self._tasks,
            keep=plan.keep,
            retries=plan.retries,
            verification=self._verification,
            on_usable=self._submit,
            on_ended=self._ended,
        )
        self._watch: CandidateWatch | None = None
        if self.looking is not None and self.looking.checkpoints and self._scoring is not None:
            self._watch = CandidateWatch(
                self.looking,
                self._arrivals,
                self._scoring,
                self._tasks,
                keep=max(self.request.top, plan.min_candidates),
            )
            self.trace.watch = self._watch
            self.trace.count_tokens = True
        self._late = False
        """Whether the deadline has passed."""
        self._cut = False
        """Whether the deadline cut off candidates or verdicts."""
        self._gave_up = False
        """Whether the deadline cut off verdicts."""
        self._scoring_cut = False
        """Whether scoring was given up after the deadline."""
        self._deadline_at: float | None = None
        """On the event loop's clock."""
        self._generating = self._scored = 0.0
        """Seconds spent so far, as in ``Timings``."""
        self._rounds = 0

    async def run(self) -> Drawn:
        """Raises DeadlineError if fewer than ``plan.min_candidates`` usable candidates had arrived
        when the deadline passed. Cancelling it aborts everything that runs, at the engines too."""
        plan, scoring, arrivals = self.plan, self._scoring, self._arrivals
        # The group outlives the drawing by what still scores: leaving it waits for all its tasks,
        # and a client that leaves cancels them with it.
        async with self._tasks:
            try:
                stopped = await self._draw_and_score()
            finally:
                # What arrives from now on is too late: a group that is being left takes no new
                # task, so nothing may be drawn again or sent to be scored.
                arrivals.close()
                if self._watch is not None:
                    self._watch.close()
                if scoring is not None:
                    scoring.close()
                if self._verification is not None:
                    self._verification.stop()
        arrived = arrivals.usable + arrivals.refuted
        if self._cut and arrived < plan.min_candidates:
            raise DeadlineError(
                f"{arrived} of the {plan.min_candidates} candidates that are needed had"
                f" arrived within {plan.deadline} s"
            )
        return Drawn(
            candidates=self._candidates(),
            reward_tokens=0 if scoring is None else scoring.tokens,
            reward_errors=self._reward_errors(),
            timings=Timings(generate=self._generating, score=self._scored),
            deadline_passed=self._cut or self._scoring_cut,
            judging=self._judging(),
            left_out=() if scoring is None else sorted(scoring.left_out),
            refuted_may_win=self._refuted_may_win,
            rounds=self._rounds,
            stopped=stopped,
            pruning=self._pruning(),
        )

    async def _draw_and_score(self) -> Stopped | None:
        timer: asyncio.TimerHandle | None = None
        if self.plan.deadline is not None:
            loop = asyncio.get_running_loop()
            self._deadline_at = loop.time() + self.plan.deadline
            timer = loop.call_at(self._deadline_at, self._pass_deadline)
        try:
            if self._scoring is not None:
                self._scoring.announce()
            if self.rule is None:
                await self._wave(self.plan.drawn)
                stopped = None
            else:
                stopped = await self._waves(self.rule)
            await self._score_refuted()
            return stopped
        finally:
            if timer is not None:
                timer.cancel()

    async def _waves(self, rule: WaveRule) -> Stopped | None:
        """Why there was no further wave."""
        following = await rule(())
        while following.draw:
            if self._late:
                self._cut = True
            else:
                await self._wave(following.draw)
            if self._cut or self._scoring_cut:
                return Stopped.DEADLINE
            following = await rule(self._candidates())
        return following.stopped

    async def _wave(self, count: int) -> None:
        """Draw ``count`` candidates and score them."""
        started = time.monotonic()
        self._rounds += 1
        if self._watch is not None:
            self._watch.next_wave()
        may_stop_early = self.plan.may_stop_early or self._watch is not None
        await self._arrivals.ask(count, may_stop_early=may_stop_early)
        if self._watch is not None:
            self._watch.wave_over()
        # Asking ends at the deadline and with the last candidate. Which of them came first shows in
        # what has arrived.
        self._cut = self._gave_up or not self._arrivals.complete
        if self._verification is not None:
            self._verification.stop()
        self._generating += time.monotonic() - started
        await self._settle()

    async def _settle(self) -> None:
        if self._scoring is not None:
            started = time.monotonic()
            if not await self._scoring.settle(self._left_for_scoring()):
                self._scoring_cut = True
            self._scored += time.monotonic() - started

    async def _score_refuted(self) -> None:
        """Score candidates that a verifier failed only if there are no others: only then their
        rewards count."""
        arrivals = self._arrivals
        if not self._refuted_may_win or arrivals.usable or not arrivals.refuted:
            return
        for index, candidate in arrivals.ended.items():
            if candidate.refuted and candidate.completion is not None:
                self._submit(index, candidate.completion)
        await self._settle()

    @property
    def _refuted_may_win(self) -> bool:
        return self._verification is None or self._verification.on_all_failed == "best"

    def _judging(self) -> JudgeUsage | None:
        parts = (self._scoring, self._verification)
        known = [part.judging for part in parts if part is not None and part.judging is not None]
        return sum(known, JudgeUsage()) if known else None

    def _pass_deadline(self) -> None:
        self._late = True
        self._gave_up = self._arrivals.pass_deadline()

    def _submit(self, index: int, completion: Completion) -> None:
        if self._scoring is not None:
            self._scoring.submit(index, completion)

    def _ended(self, index: int) -> None:
        if self._watch is not None:
            self._watch.ended(index)

    def _pruning(self) -> Pruning | None:
        if self._watch is not None:
            return self._watch.state
        return None if self.looking is None else self.looking.state

    def _left_for_scoring(self) -> float | None:
        """Seconds; None waits."""
        if self._deadline_at is None or self.plan.deadline is None:
            return None
        grace = max(SCORING_GRACE * self.plan.deadline, LEAST_SCORING_GRACE_S)
        return max(self._deadline_at - asyncio.get_running_loop().time(), 0.0) + grace

    def _candidates(self) -> tuple[Candidate, ...]:
        scoring, stopped_by = self._scoring, "deadline" if self._cut else "straggler"
        candidates = []
        for index in range(self._arrivals.asked):
            candidate = self._arrivals.candidate(index, stopped_by)
            if scoring is not None and (reward := scoring.reward(index)) is not None:
                rewards = scoring.members(index)
                candidate = msgspec.structs.replace(candidate, reward=reward, rewards=rewards)
            if (variant := self.trace.variants.get(index)) is not None:
                candidate = msgspec.structs.replace(candidate, variant=variant)
            if self._watch is not None and (partial := self._watch.partial_rewards(index)):
                candidate = msgspec.structs.replace(candidate, partial_rewards=partial)
            candidates.append(candidate)
        return tuple(candidates)

    def _reward_errors(self) -> tuple[RewardError, ...]:
        if self._scoring is None:
            return ()
        ended = self._arrivals.ended
        return self._scoring.losses(i for i, c in ended.items() if c.status in USABLE)
