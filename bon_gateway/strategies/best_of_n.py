"""Draw N, score all, answer with the highest raw reward.

Ties go to the lower index. A failed candidate is drawn again; what stays missing degrades the
answer and does not fail it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bon_gateway.protocols import PolicyBackend, RewardBackend, Trace
from bon_gateway.settings.tree import BestOfNSettings
from bon_gateway.strategies.judge import Judge
from bon_gateway.strategies.pool import best_of_pool
from bon_gateway.strategies.select import check_top
from bon_gateway.types import ChatRequest, Selection


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
