"""Draw a number of candidates that is itself drawn, and answer with the best (Best-of-Poisson,
arXiv:2506.19248).

A request draws 1 + Poisson(`mu`) candidates, at most `n`, and the highest raw reward wins. Some
requests get one sample and some get many, so the winners are spread over all that the policy says.
It hedges against a reward model that can be fooled: for the same distance from the policy, the mean
reward is nearly the best that is possible, and `mu`, unlike `n` of `best_of_n`, can be set to any
number between. It harms where the reward model is right: `best_of_n` with 1 + `mu` candidates, at
the same price, has a higher reward on average. The price and the latency differ from request to
request.

A request with a `seed` draws the same number again. Without one the number follows from the
request's id, so that a request which is sent again under its `x-request-id` draws as many. If the
client asks for several choices, at least as many are drawn.

No request may set `mu`, which has to be calibrated (`bon-gateway calibrate`); its `n` sets the most
that is drawn.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from bon_common.selection.poisson import poisson_count
from bon_gateway.strategies.pool import PoolStrategy
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.select import check_top
from bon_gateway.strategies.settings import DrawSettings
from bon_gateway.types import ChatRequest


class PoissonSettings(DrawSettings):
    type: Literal["poisson"]
    n: PositiveInt = 16
    """The most candidates that a request draws. It counts in full against all limits. At 1 + ``mu``
    + 3 sqrt(``mu``) or more it hardly ever cuts the number."""
    mu: Annotated[float, Field(gt=0, le=10_000)] = 7.0
    """Mean number of candidates beyond the first. Lower it if answers get worse by people's
    judgement while rewards rise; raise it to trust the reward model more."""

    def build(self, referee: Referee) -> Poisson:
        return Poisson(self, referee)


@dataclass(frozen=True, slots=True)
class Poisson(PoolStrategy):
    settings: PoissonSettings

    def drawn(self, request: ChatRequest) -> int:
        return self._kept(request)

    def _kept(self, request: ChatRequest) -> int:
        most = 1 if request.greedy else self.settings.n
        # By the most and not by the number: whether a request is refused must not be chance.
        check_top(request, most)
        if most == 1:
            return 1
        # Not the noise by which policies draw the candidates of the same seed.
        known = request.request_id if request.seed is None else request.seed
        uniform = random.Random(f"{known} number").random()
        return max(request.top, poisson_count(self.settings.mu, most, uniform))
