"""``mbr``: reward and a bonus for consensus, whose size is its parameter. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bon_common.selection.mbr import mbr_values
from bon_common.selection.similarity import ngram_consensus
from bon_gateway.calibrate.figures.hedges import log_steps
from bon_gateway.calibrate.figures.ways import (
    Tunable,
    WayColumns,
    contenders_of,
    expected,
    runs_of,
)
from bon_gateway.calibrate.pools import CalibrationPrompts, JudgedPool

SIZE, READ = 3, 8192
"""Characters of an n-gram and of an answer that are compared, as ``mbr`` does by default."""


class TunedMbr(Tunable):
    name, key = "mbr", "beta"

    def __init__(self, prompts: CalibrationPrompts, n: int, scale: float) -> None:
        """``scale`` is how far rewards of one prompt are apart, and above 0."""
        super().__init__(prompts, n)
        self._scale = scale
        every = (pool for own in prompts.pools for pool in own)
        # Once for all values: similarity is the costly part, and no parameter changes it.
        self._consensus = {id(pool): self._of_runs(pool) for pool in every}

    @property
    def values(self) -> Sequence[float]:
        return [0.0, *log_steps(0.03 * self._scale, 300 * self._scale, 0.125)]

    @property
    def plain(self) -> float | None:
        return 0.0

    def settings(self, value: float) -> Mapping[str, object]:
        return {**super().settings(value), "similarity": {"type": "ngrams", "size": SIZE}}

    def _of_runs(self, pool: JudgedPool) -> Sequence[tuple[Sequence[int], Sequence[float]]]:
        """For each run the places that may win, in the order of the log, and their consensus."""
        runs = [sorted(contenders_of(pool, run)) for run in runs_of(pool, self.n)]
        return [(own, ngram_consensus([pool.texts[p][:READ] for p in own], SIZE)) for own in runs]

    def _columns(self, value: float) -> WayColumns:
        def chances(pool: JudgedPool) -> Sequence[float]:
            found = [0.0] * pool.size
            runs = self._consensus[id(pool)]
            for own, consensus in runs:
                worths = mbr_values([pool.rewards[p] for p in own], consensus, value)
                found[own[worths.index(max(worths))]] += 1 / len(runs)
            return found

        return expected(self._prompts, chances, self.n)
