"""``good_enough``, which draws in waves until a reward passes a threshold. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bon_common.selection.adaptive.waves import Waves
from bon_gateway.calibrate.figures.ways import Tunable, WayColumns, best_rewards, turned
from bon_gateway.calibrate.pools import CalibrationPrompts, JudgedPool
from bon_gateway.compare.statistics import quantile

LEVELS = 40
"""Quantiles of best-of-N's reward that are tried as thresholds."""
DIGITS = 4
"""Of a threshold that is served."""


class TunedGoodEnough(Tunable):
    """Its values are thresholds."""

    name, key = "good_enough", "threshold"

    def __init__(
        self, prompts: CalibrationPrompts, n: int, wave: int, thresholds: Sequence[float]
    ) -> None:
        super().__init__(prompts, n)
        self._wave, self._thresholds = wave, thresholds

    @property
    def values(self) -> Sequence[float]:
        return self._thresholds

    def settings(self, value: float) -> Mapping[str, object]:
        return {**super().settings(value), "wave": self._wave}

    def _columns(self, value: float) -> WayColumns:
        waves = Waves(self._wave, self._wave, self.n)
        runs = [
            [[wave_run(pool, run, waves, value) for run in turned(pool, self.n)] for pool in own]
            for own in self._prompts.pools
        ]

        def column(worth: Callable[[JudgedPool, WaveRun], float]) -> list[float]:
            return [
                fmean([fmean([worth(pool, run) for run in found])
                       for pool, found in zip(own, row, strict=True)])
                for own, row in zip(self._prompts.pools, runs, strict=True)
            ]  # fmt: skip

        judged = self._prompts.with_gold
        return WayColumns(
            golds=column(lambda pool, run: (pool.golds or ())[run.winner]) if judged else None,
            rewards=column(lambda pool, run: pool.rewards[run.winner]),
            drawn=column(lambda _, run: len(run.drawn)),
            tokens=column(lambda pool, run: math.fsum(pool.tokens[p] for p in run.drawn)),
        )


@dataclass(frozen=True, slots=True)
class WaveRun:
    winner: int
    drawn: Sequence[int]
    accepted: bool
    """Whether a candidate was good enough."""


def wave_run(pool: JudgedPool, order: Sequence[int], waves: Waves, threshold: float) -> WaveRun:
    """What ``good_enough`` does if candidates come in this order: places in the pool."""
    drawn: Sequence[int] = ()
    for end in waves.ends():
        drawn = order[:end]
        if any(pool.finished[p] and pool.rewards[p] >= threshold for p in drawn):
            return WaveRun(max(drawn, key=lambda p: pool.ranks[p]), drawn, accepted=True)
    return WaveRun(max(drawn, key=lambda p: pool.ranks[p]), drawn, accepted=False)


def thresholds_of(pools: Iterable[JudgedPool], n: int) -> list[float]:
    """From the lowest to the highest reward of best-of-n, each a little below a reward that there
    is, so that it passes."""
    found = sorted(reward for pool in pools for reward in best_rewards(pool, n))
    levels = [quantile(found, step / LEVELS) for step in range(LEVELS + 1)]
    return sorted({_rounded_down(level) for level in levels})


def _rounded_down(value: float) -> float:
    if value == 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) + 1 - DIGITS)
    # A float such as 0.3 is not always a multiple of its unit: a hair above counts as equal.
    return float(f"{math.floor(value / unit + 1e-9) * unit:.{DIGITS}g}")
