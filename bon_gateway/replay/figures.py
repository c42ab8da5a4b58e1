"""From columns to rows with intervals, all beside plain best-of-N. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from bon_gateway.compare.statistics import Interval, Resamples, quantile
from bon_gateway.replay.columns import AnswerColumns
from bon_gateway.replay.results import BesideBase, ReplayRow

P95 = 0.95


class RowMaker:
    """Makes rows that are compared with ``base``. All rows resample the same prompts."""

    def __init__(
        self, base: AnswerColumns, *, resamples: int, confidence: float, seed: int
    ) -> None:
        self._base = base
        self._count, self._confidence, self._seed = resamples, confidence, seed
        self._made: dict[int, Resamples] = {}

    def row(
        self, name: str, settings: Mapping[str, object] | None, columns: AnswerColumns
    ) -> ReplayRow:
        latencies = [1000 * seconds for seconds in columns.costs["latency_s"]]
        return ReplayRow(
            name=name,
            settings=settings,
            drawn=fmean(columns.costs["drawn"]),
            rounds=fmean(columns.costs["rounds"]),
            tokens=self._mean(columns.costs["tokens"]),
            scored=fmean(columns.costs["scored"]),
            scored_tokens=fmean(columns.costs["scored_tokens"]),
            reward=None if columns.rewards is None else self._mean(columns.rewards),
            gold=None if columns.golds is None else self._mean(columns.golds),
            latency=self._mean(latencies),
            latency_p95=1000 * quantile(sorted(columns.latencies_s), P95),
            failed=columns.failed,
            degraded=dict(columns.degraded or {}),
            beside=None if columns is self._base else self._beside(columns),
        )

    def _beside(self, columns: AnswerColumns) -> BesideBase:
        base = self._base
        return BesideBase(
            tokens_percent=self._percent(columns.costs["tokens"], base.costs["tokens"]),
            latency_percent=self._percent(columns.costs["latency_s"], base.costs["latency_s"]),
            reward=self._minus(columns.rewards, base.rewards),
            gold=self._minus(columns.golds, base.golds),
        )

    def _mean(self, column: Sequence[float]) -> Interval:
        return self._resamples(len(column)).mean(column)

    def _minus(
        self, ours: Sequence[float] | None, theirs: Sequence[float] | None
    ) -> Interval | None:
        if ours is None or theirs is None:
            return None
        return self._mean([one - other for one, other in zip(ours, theirs, strict=True)])

    def _percent(self, ours: Sequence[float], theirs: Sequence[float]) -> Interval:
        """Of the means, because that is what is paid; 0 beside a base that costs nothing."""

        def share(means: Sequence[float]) -> float:
            return 100 * means[0] / means[1] if means[1] else 0.0

        resamples = self._resamples(len(ours))
        return resamples.interval(
            share([fmean(ours), fmean(theirs)]), resamples.of_means(share, [ours, theirs])
        )

    def _resamples(self, prompts: int) -> Resamples:
        """Rewards and gold may be known at fewer prompts than costs."""
        if prompts not in self._made:
            self._made[prompts] = Resamples(prompts, self._count, self._confidence, self._seed)
        return self._made[prompts]
