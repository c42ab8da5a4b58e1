"""The strategies that hedge against a reward model that can be fooled, each with its parameter.
Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from bon_common.selection.calibration.hedge import poisson_slope, soft_chances, soft_slope
from bon_common.selection.pessimistic import pessimistic
from bon_common.selection.poisson import poisson_chances
from bon_gateway.calibrate.figures.ways import (
    Tunable,
    TunedBestOfN,
    WayColumns,
    contenders_of,
    expected,
    run_chances,
    runs_of,
    weighted,
)
from bon_gateway.calibrate.pools import CalibrationPrompts, JudgedPool


class TunedPoisson(Tunable):
    """From the curve of best-of-n, because it is best-of-n at a random n."""

    name, key = "poisson", "mu"

    def __init__(self, prompts: CalibrationPrompts, n: int, curve: TunedBestOfN) -> None:
        super().__init__(prompts, n)
        self._curve = curve

    @property
    def values(self) -> Sequence[float]:
        return log_steps(0.1, self.n, 0.1)

    def _columns(self, value: float) -> WayColumns:
        chances = poisson_chances(value, self.n)
        curve = [self._curve.columns(size) for size in range(1, self.n + 1)]

        def mixed(columns: Sequence[Sequence[float]]) -> list[float]:
            return [weighted(chances, row) for row in zip(*columns, strict=True)]

        golds = [one.golds for one in curve if one.golds is not None]
        return WayColumns(
            golds=mixed(golds) if golds else None,
            rewards=mixed([one.rewards for one in curve]),
            drawn=mixed([one.drawn for one in curve]),
            tokens=mixed([one.tokens for one in curve]),
        )

    def slope(self, value: float, places: Sequence[int]) -> float | None:
        sizes = range(1, self.n + 1)
        return poisson_slope([self._curve.columns(k).mean_worth(places) for k in sizes], value)


class TunedSoft(Tunable):
    name, key = "soft", "reward_temperature"

    def __init__(self, prompts: CalibrationPrompts, n: int, scale: float) -> None:
        """``scale`` is how far rewards of one prompt are apart, and above 0."""
        super().__init__(prompts, n)
        self._scale = scale

    @property
    def values(self) -> Sequence[float]:
        return log_steps(0.01 * self._scale, 30 * self._scale, 0.1)

    @property
    def plain(self) -> float | None:
        return self.values[0]

    def _columns(self, value: float) -> WayColumns:
        def rule(rewards: Sequence[float]) -> Sequence[float]:
            return soft_chances(rewards, value)

        return expected(self._prompts, lambda pool: run_chances(pool, self.n, rule), self.n)

    def slope(self, value: float, places: Sequence[int]) -> float | None:
        return math.fsum(
            fmean([self._of_pool(pool, value) for pool in self._prompts.pools[place]])
            for place in places
        )

    def _of_pool(self, pool: JudgedPool, value: float) -> float:
        golds = pool.golds or ()
        slopes = []
        for run in runs_of(pool, self.n):
            own = contenders_of(pool, run)
            slopes.append(
                soft_slope([pool.rewards[p] for p in own], [golds[p] for p in own], value)
            )
        return fmean(slopes)


class TunedPessimistic(Tunable):
    name, key = "pessimistic", "beta"

    def __init__(self, prompts: CalibrationPrompts, n: int, scale: float) -> None:
        """``scale`` is how far rewards of one prompt are apart, and above 0."""
        super().__init__(prompts, n)
        self._scale = scale

    @property
    def values(self) -> Sequence[float]:
        return log_steps(0.001 * self._scale, 30 * self._scale, 0.1)

    @property
    def plain(self) -> float | None:
        return self.values[0]

    def _columns(self, value: float) -> WayColumns:
        def rule(rewards: Sequence[float]) -> Sequence[float]:
            return pessimistic(rewards, value)[1]

        return expected(self._prompts, lambda pool: run_chances(pool, self.n, rule), self.n)


def log_steps(low: float, high: float, decades: float) -> list[float]:
    """From ``low`` to ``high``, each larger by so many decades, to three digits."""
    count = round(math.log10(high / low) / decades)
    return [float(f"{low * 10 ** (decades * step):.3g}") for step in range(count + 1)]
