r"""Draw N candidates and answer with what most of them say (self-consistency).

It helps where an answer ends in something short that is right or wrong, such as a number, and the
policy is right more often than it makes any one mistake. It needs no reward model; with one, the
best candidate of the majority is sent, and rewards decide between equally frequent answers. It
harms where one mistake is the most frequent answer, and where a text has numbers but no final
answer: then numbers that mean nothing are counted. Where no two final answers are equal it is
`best_of_n`, or without a reward model one sample at N times the price.

With `stop_at` it draws in waves and stops as soon as the leading answer is certain enough, or the
candidates that are left would hardly change it. That saves most where the policy is nearly always
right, and costs further rounds where it is not.

By default the final answer is the last number, which needs no agreement with the model about a
form. If the prompt asks for a form, such as `\boxed{}` or JSON, set `extract` to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from bon_common.selection.adaptive.waves import Waves
from bon_common.selection.lead import chance_to_lead, chance_to_stay
from bon_common.selection.votes import majority
from bon_gateway.protocols import PolicyBackend, Trace
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.votes import VoteSettings, VoteStrategy
from bon_gateway.strategies.waves import NextWave, WaveRule
from bon_gateway.types import Candidate, ChatRequest, Stopped

MOST_LEFT = 256
"""With more candidates to come, their effect would take too long to compute."""


class MajoritySettings(VoteSettings):
    type: Literal["majority"]
    stop_at: Annotated[float, Field(gt=0.5, lt=1)] | None = None
    """Chance at which it stops: that the leading answer is in truth more frequent than the second
    one, or that it still leads when all ``n`` are drawn. With 0.95 four equal answers are always
    enough, and three are with ``n`` 16. None draws all ``n`` at once."""
    wave: PositiveInt = 4
    """Candidates drawn at a time, with ``stop_at``."""

    needs_reward: ClassVar[bool] = False

    def build(self, referee: Referee) -> Majority:
        return Majority(self, referee, rule=majority, find=self.extract.build())


@dataclass(frozen=True, slots=True)
class Majority(VoteStrategy):
    settings: MajoritySettings

    def wave_rule(
        self, request: ChatRequest, policy: PolicyBackend, trace: Trace
    ) -> WaveRule | None:
        settings, stop_at = self.settings, self.settings.stop_at
        if stop_at is None:
            return None
        waves = Waves(max(settings.wave, request.top), settings.wave, cap=settings.n)

        async def rule(candidates: Sequence[Candidate]) -> NextWave:
            # An answer that a verifier failed cannot win the vote, so it must not end it either.
            voting = [candidate for candidate in candidates if not candidate.refuted]
            refuted = len(candidates) - len(voting)
            votes = Counter((await self.answers(request, policy, voting, trace)).values())
            if votes and _decided(votes, len(voting), settings.n - refuted, stop_at):
                return NextWave(0, Stopped.VOTE)
            return NextWave(waves.after(len(candidates)), Stopped.CAP)

        return rule


def _decided(votes: Counter[str], drawn: int, n: int, stop_at: float) -> bool:
    first, second = [*[count for _, count in votes.most_common(2)], 0][:2]
    if chance_to_lead(first, second) >= stop_at:
        return True
    left = n - drawn
    # Candidates without an answer count as votes for others, as further ones may be such.
    others = drawn - first - second
    return 0 < left <= MOST_LEFT and chance_to_stay(first, second, others, left) >= stop_at
