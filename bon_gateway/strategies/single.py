"""One sample of one policy, passed through as it is: a tuned policy in place of N samples.

Nothing is scored and nothing is judged. A client that streams gets each token as it comes.

It helps where the policy itself was tuned to what the reward model wants: in the demo world
(docs/training-study.md) one sample after PPO has a gold reward of 2.22, where best-of-8 of the
policy before it has 1.86. It harms where the policy was not: one sample of that has 0.26.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bon_gateway.assemble import Assembly
from bon_gateway.errors import DeadlineError, PolicyError
from bon_gateway.protocols import DeltaSink, PolicyBackend, RewardBackend, Trace
from bon_gateway.sections.base import Milliseconds
from bon_gateway.strategies.decide import rank
from bon_gateway.strategies.draw import Draw, Drawn, Plan
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.select import check_top, select
from bon_gateway.strategies.settings import StrategySettings
from bon_gateway.strategies.validity import AnswerCheck
from bon_gateway.types import Candidate, CandidateStatus, ChatRequest, Selection, Timings


class SingleSettings(StrategySettings):
    type: Literal["single"]
    deadline_ms: Milliseconds | None = None
    """Milliseconds after which an unfinished answer is an error (504). None waits."""
    min_candidates: Annotated[int, Field(ge=1, le=1)] = 1
    """Always 1: there is one candidate."""
    retries: Annotated[int, Field(ge=0, le=5)] = 1
    """How often a failed candidate is drawn again."""

    needs_reward: ClassVar[bool] = False
    asked: ClassVar[tuple[str, ...]] = ("deadline_ms", "min_candidates")

    def build(self, referee: Referee) -> Single:
        return Single(self)


@dataclass(frozen=True, slots=True)
class Single:
    settings: SingleSettings
    name: str = "single"

    def drawn(self, request: ChatRequest) -> int:
        check_top(request, 1)
        return 1

    async def run(
        self,
        request: ChatRequest,
        policy: PolicyBackend,
        reward: RewardBackend | None,
        trace: Trace,
    ) -> Selection:
        check_top(request, 1)
        settings = self.settings
        deadline = None if settings.deadline_ms is None else settings.deadline_ms / 1000
        if trace.sink is not None:
            drawn = await self._streamed(request, policy, trace, trace.sink, deadline)
        else:
            plan = Plan(1, 1, deadline, min_candidates=1, retries=settings.retries)
            check = AnswerCheck.anything()
            drawn = await Draw(request, policy, None, plan, check, trace).run()
        return select(drawn, request, rank(drawn.candidates), self.name, "first")

    async def _streamed(
        self,
        request: ChatRequest,
        policy: PolicyBackend,
        trace: Trace,
        sink: DeltaSink,
        deadline: float | None,
    ) -> Drawn:
        started = time.monotonic()
        assembly = Assembly()
        try:
            async with asyncio.timeout(deadline):
                for attempts_left in range(self.settings.retries, -1, -1):
                    try:
                        await self._forward(request, policy, trace, sink, assembly)
                        break
                    except PolicyError as error:
                        # What the client has already seen cannot be taken back.
                        if assembly.begun or not error.retryable or not attempts_left:
                            raise
        except TimeoutError:
            raise DeadlineError(f"the answer was not complete within {deadline} s") from None
        completion = assembly.completion()
        return Drawn(
            candidates=(
                Candidate(
                    0,
                    CandidateStatus.FINISHED,
                    completion,
                    tokens=completion.tokens,
                    variant=trace.variants.get(0),
                ),
            ),
            reward_tokens=0,
            reward_errors=(),
            timings=Timings(generate=time.monotonic() - started, score=0.0),
            deadline_passed=False,
        )

    async def _forward(
        self,
        request: ChatRequest,
        policy: PolicyBackend,
        trace: Trace,
        sink: DeltaSink,
        assembly: Assembly,
    ) -> None:
        async with aclosing(policy.stream(request, trace)) as deltas:
            async for delta in deltas:
                assembly.add(delta)
                await sink.send(0, delta)
