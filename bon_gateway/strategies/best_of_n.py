"""Draw N candidates, score all of them, answer with the highest raw reward.

It helps where the reward model is right about what is better, and most of the gain comes early: in
the demo world (docs/training-study.md) gold reward rises from 0.26 for one sample to 1.49 with N 4,
1.86 with N 8 and 2.31 with N 64. It multiplies generated tokens by N, and the slowest candidate
sets the latency. It harms where the reward model can be fooled, the more so the larger N is: with
a weak reward model the gold reward stops rising at 1.23, with N 16.

Ties go to the lower index. A failed candidate is drawn again; what stays missing degrades the
answer and does not fail it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from bon_gateway.protocols import PolicyBackend, RewardBackend, Trace
from bon_gateway.strategies.judge import Judge
from bon_gateway.strategies.pool import best_of_pool
from bon_gateway.strategies.select import check_top
from bon_gateway.strategies.settings import DrawSettings
from bon_gateway.types import ChatRequest, Selection


class BestOfNSettings(DrawSettings):
    type: Literal["best_of_n"]

    def build(self, judge: Judge) -> BestOfN:
        return BestOfN(self, judge)


@dataclass(frozen=True, slots=True)
class BestOfN:
    settings: BestOfNSettings
    judge: Judge = field(default_factory=Judge)
    name: str = "best_of_n"

    def drawn(self, request: ChatRequest) -> int:
        drawn = 1 if request.greedy else self.settings.n
        check_top(request, drawn)
        return drawn

    async def run(
        self,
        request: ChatRequest,
        policy: PolicyBackend,
        reward: RewardBackend | None,
        trace: Trace,
    ) -> Selection:
        drawn = self.drawn(request)
        return await best_of_pool(
            request, policy, reward, trace,
            strategy=self.name, settings=self.settings, drawn=drawn, keep=drawn,
            judge=self.judge,
        )  # fmt: skip
