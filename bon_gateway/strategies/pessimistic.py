"""Draw N candidates and draw the winner among them, by chances that rise only linearly with reward.

Candidate i wins with the chance max(0, reward_i - threshold) / (N beta); the threshold is where the
chances sum to 1 (inference-time pessimism, arXiv:2503.21878). It helps where the reward model can
be fooled by answers that it then rewards far too highly: the best candidate is certain to win only
if it leads all others by N beta. It harms where the reward model is right: a worse answer wins now
and then, even if one answer is far better than all others. It costs as many tokens as `best_of_n`.

A request with a `seed` gets the same winner again if the rewards are the same; without one, each
request draws anew. Further choices (the request's `n`) go on with the same draw, without
replacement; candidates that had no chance follow by reward. Those without a reward come last, and
N does not count them; if none has a reward, `fallback` decides.

No request may set `beta`, which has to be calibrated (`bon-gateway calibrate`). A request that
chooses this strategy for a model that has another gets the default, and one that chooses
`best_of_n` is not hedged: `allow_override: false` prevents both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import PositiveFloat

from bon_common.selection.pessimistic import pessimistic_log_weights
from bon_gateway.strategies.chance import by_chance
from bon_gateway.strategies.pool import PoolStrategy
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.settings import DrawSettings
from bon_gateway.types import Candidate, ChatRequest


class PessimisticSettings(DrawSettings):
    type: Literal["pessimistic"]
    beta: PositiveFloat = 1.0
    """How little a higher reward counts, in the reward model's own unit. A candidate that is
    ``beta`` or more below the mean reward of all never wins; one that leads all others by n times
    ``beta`` always does. Near 0 it is ``best_of_n``, except that equal rewards win equally often;
    very large, every candidate wins equally often. Raise it if answers get worse by people's
    judgement while rewards rise with N; lower it if worse answers win too often. Set it anew for
    another reward model, whose unit is another."""

    def build(self, referee: Referee) -> Pessimistic:
        return Pessimistic(self, referee)


@dataclass(frozen=True, slots=True)
class Pessimistic(PoolStrategy):
    settings: PessimisticSettings

    async def order(self, request: ChatRequest, candidates: Sequence[Candidate]) -> Sequence[int]:
        """Drawn among the candidates that may win and have a reward."""
        beta = self.settings.beta
        return by_chance(request, candidates, lambda r: pessimistic_log_weights(r, beta))
