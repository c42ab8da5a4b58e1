"""Ask a cheap policy first, and a better one only where its answer is not good enough.

`first_n` candidates of the policy `first` are drawn and scored. If one has a reward of at least
`threshold`, the best of them is the answer. Otherwise the served model's own policy draws `n`
candidates, and the best of all is the answer: a cheap one may still win. A candidate that is
invalid, cut or blank is never good enough, so an answer that is not the JSON or the tool call that
the client wants goes on to the better policy. A client that asks for several choices (its `n`)
needs as many good candidates.

It helps where many prompts are easy and the reward says what is good and not only what is better.
It harms where rewards of different prompts do not compare: then some prompts keep a poor answer,
and others pay for both policies. The requests that end with `stopped: good_enough` are what it
saves. All others pay for `first_n` cheap candidates and wait for one more round.

If the reward model is down, nothing says which answers will do, and the better policy is not asked:
`fallback` chooses among the candidates of `first`, and `stopped` is `unjudged`. If `first` is down,
its candidates fail, and the better policy answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import PositiveInt

from bon_common.selection.escalation import Escalation, escalation
from bon_gateway.protocols import CandidateSource, PolicyBackend, Trace
from bon_gateway.strategies.decide import USABLE
from bon_gateway.strategies.pool import PoolStrategy
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.relay import Leg, Relay
from bon_gateway.strategies.settings import DrawSettings
from bon_gateway.strategies.waves import NextWave, WaveRule
from bon_gateway.types import Candidate, CandidateStatus, ChatRequest, Stopped, Tier

STOPPED = {
    Escalation.GOOD_ENOUGH: Stopped.GOOD_ENOUGH,
    Escalation.UNJUDGED: Stopped.UNJUDGED,
}


class CascadeSettings(DrawSettings):
    type: Literal["cascade"]
    first: str
    """A name in ``policies``: the policy that is asked first. Its `thinking` must be that of the
    served model's own policy."""
    first_n: PositiveInt = 1
    """Candidates that it draws."""
    threshold: float
    """Reward from which a candidate is good enough, in the reward model's own unit. Choose it on
    answers whose quality you know, and anew for another reward model."""
    n: PositiveInt = 8
    """Candidates that the served model's own policy draws if none of the first is good enough."""

    by_request: ClassVar[bool] = False
    """A threshold has no default that fits."""
    counts: ClassVar[tuple[str, ...]] = ("first_n", "n")

    @property
    def asks(self) -> Mapping[str, str]:
        return {"first": self.first}

    needs_steady_rewards: ClassVar[bool] = True

    def build(self, referee: Referee) -> Cascade:
        return Cascade(self, referee)


@dataclass(frozen=True, slots=True)
class Cascade(PoolStrategy):
    settings: CascadeSettings

    def most(self, request: ChatRequest) -> int:
        """Even a greedy request has two candidates, one of each policy."""
        return self._first_n(request) + self._kept(request)

    def source(self, request: ChatRequest, policy: PolicyBackend, trace: Trace) -> CandidateSource:
        first = self.settings.first
        legs = Leg(first, trace.policies[first]), Leg(trace.policy, policy)
        return Relay(*legs, handover=self._first_n(request))

    def wave_rule(self, request: ChatRequest, policy: PolicyBackend, trace: Trace) -> WaveRule:
        return Escalating(
            self.settings.threshold, request.top, self._first_n(request), self._kept(request)
        )

    def _first_n(self, request: ChatRequest) -> int:
        return 1 if request.greedy else self.settings.first_n


@dataclass(frozen=True, slots=True)
class Escalating:
    threshold: float
    wanted: int
    """Good candidates that the client needs."""
    first: int
    then: int
    """Candidates of either policy."""

    async def __call__(self, candidates: Sequence[Candidate]) -> NextWave:
        if not candidates:
            return NextWave(self.first, Stopped.ESCALATED)
        if len(candidates) > self.first:
            return NextWave(0, Stopped.ESCALATED)
        usable = [one for one in candidates if one.status in USABLE and not one.refuted]
        outcome = escalation([_worth(one) for one in usable], self.threshold, self.wanted)
        if outcome in STOPPED:
            return NextWave(0, STOPPED[outcome])
        return NextWave(self.then, Stopped.ESCALATED)


def _worth(candidate: Candidate) -> float | None:
    """The reward of a whole answer. Any other is worth less than every threshold."""
    whole = candidate.status is CandidateStatus.FINISHED and candidate.tier is Tier.ANSWER
    return candidate.reward if whole or candidate.reward is None else float("-inf")
