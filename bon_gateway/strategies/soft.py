"""Draw N candidates and draw the winner among them: the higher its reward, the likelier.

Candidate i wins with a chance proportional to exp(reward_i / reward_temperature) (soft best-of-n,
arXiv:2505.03156). It helps where the reward model can be fooled: an answer whose reward is a little
higher only because it fooled the reward model wins only a little more often, where `best_of_n`
always takes it. A reward that is far too high still wins nearly always; `pessimistic` trusts it
less. It harms where the reward model is right: a worse answer wins now and then. It costs as many
tokens as `best_of_n`.

A request with a `seed` gets the same winner again if the rewards are the same; without one, each
request draws anew. Further choices (the request's `n`) go on with the same draw, without
replacement. Candidates without a reward come last; if none has one, `fallback` decides.

No request may set `reward_temperature`, which has to be calibrated (`bon-gateway calibrate`). A
request that chooses this strategy for a model that has another gets the default, and one that
chooses `best_of_n` is not hedged: `allow_override: false` prevents both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import PositiveFloat

from bon_common.selection.soft import soft_log_weights
from bon_gateway.strategies.chance import by_chance
from bon_gateway.strategies.pool import PoolStrategy
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.settings import DrawSettings
from bon_gateway.types import Candidate, ChatRequest


class SoftSettings(DrawSettings):
    type: Literal["soft"]
    reward_temperature: PositiveFloat = 1.0
    """How much chance decides, in the reward model's own unit: a candidate that is this much better
    than another wins 2.7 times as often. Towards 0 it is ``best_of_n``, except that equal rewards
    win equally often; very large, every candidate wins equally often. At 1, a reward model that was
    trained on pairs is taken at its word about how likely one answer is preferred to another. Raise
    it if answers get worse by people's judgement while rewards rise with N; lower it if answers
    vary too much. Set it anew for another reward model, whose unit is another."""

    def build(self, referee: Referee) -> Soft:
        return Soft(self, referee)


@dataclass(frozen=True, slots=True)
class Soft(PoolStrategy):
    settings: SoftSettings

    async def order(self, request: ChatRequest, candidates: Sequence[Candidate]) -> Sequence[int]:
        """Drawn among the candidates that may win and have a reward."""
        temperature = self.settings.reward_temperature
        return by_chance(request, candidates, lambda r: soft_log_weights(r, temperature))
