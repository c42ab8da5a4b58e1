"""From columns to rows with intervals, all beside plain best-of-N. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from bon_gateway.calibrate.figures.results import ChosenParameter, WayRow
from bon_gateway.calibrate.figures.tuning import TunedWay
from bon_gateway.calibrate.figures.ways import WayColumns
from bon_gateway.compare.statistics import Interval, Resamples

DIGITS = 12
"""Of a difference."""


class WayRows:
    """Makes rows beside ``base``. ``curve`` has the gold of best-of-n at each size, for shares of
    the best; empty without gold."""

    def __init__(
        self, base: WayColumns, curve: Sequence[Sequence[float]], resamples: Resamples
    ) -> None:
        self._base, self._curve, self._resamples = base, curve, resamples

    def tuned(self, name: str, found: TunedWay) -> WayRow:
        settings = found.tunable.settings(found.value)
        chosen = ChosenParameter(found.tunable.key, found.value, found.of_folds, found.fitted)
        return self.row(name, settings, found.held_out, chosen)

    def row(
        self,
        name: str,
        settings: Mapping[str, object] | None,
        own: WayColumns,
        parameter: ChosenParameter | None = None,
    ) -> WayRow:
        mean, base = self._resamples.mean, self._base
        return WayRow(
            name=name,
            settings=settings,
            parameter=parameter,
            drawn=fmean(own.drawn),
            tokens=mean(own.tokens),
            reward=mean(own.rewards),
            gold=None if own.golds is None else mean(own.golds),
            reward_beside=self._beside(own.rewards, base.rewards),
            gold_beside=self._beside(own.golds, base.golds),
            share=self._share(own.golds),
        )

    def _beside(
        self, ours: Sequence[float] | None, theirs: Sequence[float] | None
    ) -> Interval | None:
        if ours is None or theirs is None or ours is theirs:
            return None
        # What is left of rounding is no difference.
        found = [round(a - b, DIGITS) for a, b in zip(ours, theirs, strict=True)]
        return self._resamples.mean(found)

    def _share(self, golds: Sequence[float] | None) -> Interval | None:
        """The best size is found anew in each resample."""
        if golds is None or not self._curve:
            return None

        def share(means: Sequence[float]) -> float:
            return 100 * means[0] / max(means[1:])

        columns = [golds, *self._curve]
        drawn = [*zip(*(self._resamples.means(column) for column in columns), strict=True)]
        if min(max(means[1:]) for means in drawn) <= 0:
            return None
        return self._resamples.interval(share([fmean(c) for c in columns]), [*map(share, drawn)])
