"""Draw N + spare, keep the first N that finish, stop the rest, answer with the best.

It helps where a few slow candidates set the latency of ``best_of_n``: they are cut off, and the
answer need not wait for them. It harms where long answers are the good ones, because short answers
finish first, and it pays for the spare candidates up to where they are stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pydantic import PositiveInt

from bon_gateway.protocols import PolicyBackend, RewardBackend, Trace
from bon_gateway.strategies.judge import Judge
from bon_gateway.strategies.pool import best_of_pool
from bon_gateway.strategies.select import check_top
from bon_gateway.strategies.settings import DrawSettings
from bon_gateway.types import ChatRequest, Selection


class FirstKSettings(DrawSettings):
    type: Literal["first_k"]
    spare: PositiveInt = 2
    """Candidates drawn beyond n; the first n to finish are kept and the rest are stopped."""

    asked: ClassVar[tuple[str, ...]] = (*DrawSettings.asked, "spare")
    counts: ClassVar[tuple[str, ...]] = (*DrawSettings.counts, "spare")

    def build(self, judge: Judge) -> FirstK:
        return FirstK(self, judge)


@dataclass(frozen=True, slots=True)
class FirstK:
    settings: FirstKSettings
    judge: Judge = field(default_factory=Judge)
    name: str = "first_k"

    def drawn(self, request: ChatRequest) -> int:
        # The spare ones are not for the client to ask for: they are there to be cut.
        check_top(request, self._kept(request))
        return 1 if request.greedy else self.settings.drawn

    def _kept(self, request: ChatRequest) -> int:
        return 1 if request.greedy else self.settings.n

    async def run(
        self,
        request: ChatRequest,
        policy: PolicyBackend,
        reward: RewardBackend | None,
        trace: Trace,
    ) -> Selection:
        return await best_of_pool(
            request, policy, reward, trace,
            strategy=self.name, settings=self.settings,
            drawn=self.drawn(request), keep=self._kept(request),
            judge=self.judge,
        )  # fmt: skip
