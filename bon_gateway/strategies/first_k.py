"""Draw N + spare, keep the first N that finish, stop the rest, answer with the best.

The slowest candidates set best-of-N's latency; this cuts them off. Where the reward depends on
the length of the answer it favours short ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bon_gateway.protocols import PolicyBackend, RewardBackend, Trace
from bon_gateway.settings.tree import FirstKSettings
from bon_gateway.strategies.judge import Judge
from bon_gateway.strategies.pool import best_of_pool
from bon_gateway.strategies.select import check_top
from bon_gateway.types import ChatRequest, Selection


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
