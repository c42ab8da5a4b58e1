"""Draw N candidates and answer with the one that the policy was surest of.

`signal` reads how sure it was from the log-probabilities of the candidate's tokens. The gateway
asks the policy for them; the client sees only those that it asked for itself. The strategy needs no
reward model. Where the served model has one, it scores nothing.

It helps where no reward model fits and the policy is more often right where it is sure, as for
questions whose answer is right or wrong. It harms where being sure means being ordinary: common
answers win over careful ones, and a firm mistake wins too. Compare it with one sample at
temperature 0, as `bon-gateway compare` does: on a small real model the surest of 16 by
`mean_logprob` were right in 0.487 of cases, greedy decoding in 0.473 and best of 16 by a reward
model in 0.557 (docs/strategies.md). All generated tokens count, those of thinking too. Where the
thinking is longer than the answer, it decides more.

An engine that gives no log-probabilities, or refuses to, such as vLLM with `--max-logprobs` below
what `signal` reads, leaves the order of index, or an error (`fallback`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from bon_gateway.strategies.decide import rank_by_confidence
from bon_gateway.strategies.pool import PoolStrategy
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.settings import DrawSettings
from bon_gateway.strategies.signals import AnySignal, MeanLogprobSettings
from bon_gateway.types import Candidate, ChatRequest, Signal


class ConfidenceSettings(DrawSettings):
    type: Literal["confidence"]
    fallback: Literal["first", "error"] = "first"
    """What to answer if the policy gives no log-probabilities: ``first`` takes the finished
    candidate with the lowest index, ``error`` is an error (502)."""
    signal: AnySignal = MeanLogprobSettings()
    """How the log-probabilities of a candidate become its confidence."""

    needs_reward: ClassVar[bool] = False

    @property
    def chooses_by(self) -> Signal:
        return self.signal.build()

    def build(self, referee: Referee) -> Confidence:
        return Confidence(self, referee)


@dataclass(frozen=True, slots=True)
class Confidence(PoolStrategy):
    settings: ConfidenceSettings

    async def order(self, request: ChatRequest, candidates: Sequence[Candidate]) -> Sequence[int]:
        """The most confident first. Ties go to the lower index."""
        return rank_by_confidence(candidates)
