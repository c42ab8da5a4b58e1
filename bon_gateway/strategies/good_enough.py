"""Draw in waves until a candidate is good enough, at most N (arXiv 2510.04087).

The first wave with a candidate whose reward is at least `threshold` is the last one, and the best
candidate so far is the answer. If none of N is good enough, the best of them is the answer, and
`stopped` in the answer's `bon` object is `cap`: a client that wants a good answer or none looks
there.

It helps where the reward says what is good and not only what is better, and most prompts are easy:
with a verifier, or a threshold that was chosen on judged answers. It harms where rewards of
different prompts do not compare, as is common with reward models that were trained on pairs: then
some prompts stop at a poor answer, and others draw all N.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import PositiveInt

from bon_common.selection.adaptive.waves import Waves
from bon_gateway.protocols import PolicyBackend, Trace
from bon_gateway.strategies.pool import PoolStrategy
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.settings import DrawSettings
from bon_gateway.strategies.waves import NextWave, WaveRule
from bon_gateway.types import Candidate, CandidateStatus, ChatRequest, Stopped, Tier


class GoodEnoughSettings(DrawSettings):
    type: Literal["good_enough"]
    n: PositiveInt = 8
    """Most candidates that one request draws."""
    threshold: float
    """Reward from which a candidate is good enough, in the reward model's own unit. Choose it on
    answers whose quality you know (``bon-gateway calibrate``), and anew for another reward
    model."""
    wave: PositiveInt = 2
    """Candidates drawn at a time. A larger wave means fewer rounds and more candidates."""

    by_request: ClassVar[bool] = False
    """A threshold has no default that fits."""

    needs_steady_rewards: ClassVar[bool] = True

    def build(self, referee: Referee) -> GoodEnough:
        return GoodEnough(self, referee)


@dataclass(frozen=True, slots=True)
class GoodEnough(PoolStrategy):
    settings: GoodEnoughSettings

    def wave_rule(self, request: ChatRequest, policy: PolicyBackend, trace: Trace) -> WaveRule:
        settings = self.settings
        waves = Waves(max(settings.wave, request.top), settings.wave, cap=settings.n)
        return UntilGoodEnough(settings.threshold, waves)


@dataclass(frozen=True, slots=True)
class UntilGoodEnough:
    threshold: float
    waves: Waves

    async def __call__(self, candidates: Sequence[Candidate]) -> NextWave:
        if any(self._good_enough(candidate) for candidate in candidates):
            return NextWave(0, Stopped.GOOD_ENOUGH)
        return NextWave(self.waves.after(len(candidates)), Stopped.CAP)

    def _good_enough(self, candidate: Candidate) -> bool:
        whole = candidate.status is CandidateStatus.FINISHED and candidate.tier is Tier.ANSWER
        return whole and candidate.reward is not None and candidate.reward >= self.threshold
