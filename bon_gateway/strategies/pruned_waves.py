"""The waves of ``pruning``: another one is drawn as long as another candidate is worth its price.

It is the rule of ``adaptive``, with one difference: candidates that were pruned have no final
reward, and count with what their partial rewards tell of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bon_common.selection.adaptive.stopping import PriceRule
from bon_common.selection.adaptive.waves import Waves
from bon_common.selection.pruning.believed import stand_ins
from bon_common.selection.pruning.chance import Belief
from bon_common.selection.pruning.probes import PartialFit
from bon_common.selection.pruning.rule import Forecast
from bon_common.selection.spread import is_computable
from bon_gateway.strategies.decide import contenders
from bon_gateway.strategies.waves import NextWave
from bon_gateway.types import PRUNED, Candidate, Stopped


@dataclass(frozen=True, slots=True)
class PrunedWaves:
    """Without a ``rule`` it is best-of-``target``."""

    target: int
    waves: Waves
    rule: PriceRule | None = None
    fits: Mapping[int, PartialFit] = field(default_factory=dict)
    """Of the checkpoints at which candidates may be pruned."""

    async def __call__(self, candidates: Sequence[Candidate]) -> NextWave:
        drawn = len(candidates)
        if self.rule is None:
            return NextWave(max(0, self.target - drawn), Stopped.TARGET)
        if not drawn:
            return NextWave(self.waves.after(0), Stopped.CAP)
        rewards = self._rewards(candidates)
        if rewards is None:
            return NextWave(max(0, self.target - drawn), Stopped.TARGET)
        if not self.rule.worth_another(rewards):
            return NextWave(0, Stopped.PRICE)
        return NextWave(self.waves.after(drawn), Stopped.CAP)

    def _rewards(self, candidates: Sequence[Candidate]) -> list[float] | None:
        """Those of the candidates that may win, and stand-ins for those that were pruned; None if
        they say nothing: one of those that may win lacks a usable one, or there are fewer than
        two."""
        rivals = [candidates[p] for p in contenders(candidates)]
        known = [rival.reward for rival in rivals if rival.reward is not None]
        if not known or len(known) < len(rivals) or not all(map(is_computable, known)):
            return None
        rewards = [*known, *stand_ins(self._beliefs(candidates), max(known))]
        return rewards if len(rewards) > 1 else None

    def _beliefs(self, candidates: Sequence[Candidate]) -> list[Belief]:
        """About the candidates that were pruned, each by its last partial reward."""
        found = []
        for candidate in candidates:
            if candidate.reason != PRUNED or not candidate.partial_rewards:
                continue
            checkpoint, partial = candidate.partial_rewards[-1]
            passed = [
                reward
                for other in candidates
                for point, reward in other.partial_rewards
                if point == checkpoint and is_computable(reward)
            ]
            fit = self.fits.get(checkpoint)
            forecast = None if fit is None else Forecast.of(passed, fit)
            if forecast is not None:
                found.append(forecast.belief(partial))
        return found
