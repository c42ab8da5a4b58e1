"""Draw N candidates and answer with what most of them say, where the policy's confidence weighs the
votes (Borda voting by self-certainty, arXiv:2502.18581).

The candidates that have a final answer are ranked by their confidence, the most confident first.
The candidate of rank r among N weighs (N - r + 1)^`p`, and the final answer with the largest sum
wins. Its most confident candidate is sent. It needs no reward model, and scores nothing where the
served model has one.

It helps where `majority` does, and where the policy is surer of right answers than of wrong ones:
then fewer candidates are enough. It harms where the policy is surest of its mistakes. What is said
of `confidence` about log-probabilities and thinking holds here too. Without log-probabilities it is
`majority`, or an error (`fallback`). Where no candidate has a final answer, the most confident one
wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bon_common.selection.votes import borda
from bon_gateway.protocols import PolicyBackend, Trace
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.signals import AnySignal, SelfCertaintySettings
from bon_gateway.strategies.votes import VoteSettings, VoteStrategy
from bon_gateway.types import Candidate, ChatRequest, Signal


class BordaSettings(VoteSettings):
    type: Literal["borda"]
    fallback: Literal["first", "error"] = "first"
    """What to answer if the policy gives no log-probabilities: with ``first`` the most frequent
    answer wins, ``error`` is an error (502)."""
    signal: AnySignal = SelfCertaintySettings(type="self_certainty")
    """How the log-probabilities of a candidate become its confidence. Only the order counts."""
    p: Annotated[float, Field(ge=0, le=100)] = 1.0
    """How much a rank counts: with 0 all votes weigh the same, with 1 it is Borda's count. Raise it
    to trust the confidence more, and with ``n``, because more ranks are then alike."""

    needs_reward: ClassVar[bool] = False

    @property
    def chooses_by(self) -> Signal:
        return self.signal.build()

    def build(self, referee: Referee) -> Borda:
        return Borda(self, referee, rule=partial(borda, p=self.p), find=self.extract.build())


@dataclass(frozen=True, slots=True)
class Borda(VoteStrategy):
    settings: BordaSettings

    async def decide(
        self,
        request: ChatRequest,
        policy: PolicyBackend,
        candidates: Sequence[Candidate],
        trace: Trace,
    ) -> Sequence[int]:
        return await self.voted_by_confidence(request, policy, candidates, trace, self.rule)
