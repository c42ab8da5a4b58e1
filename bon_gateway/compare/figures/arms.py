"""From records and scores to the figures of each arm. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean, median

from bon_gateway.compare.figures.economics import HOUR_S
from bon_gateway.compare.figures.latencies import latency_of
from bon_gateway.compare.figures.material import (
    Material,
    cost_column,
    quality_column,
    typical_n,
)
from bon_gateway.compare.figures.results import Arm, Spent
from bon_gateway.compare.greedy import is_greedy
from bon_gateway.compare.settings import JUDGE, SELECTION
from bon_gateway.compare.statistics import Interval, Resamples, win
from bon_gateway.compare.types import ArmRecord


def arm_figures(
    material: Material, name: str, highest_rate: float | None, same_as_base: str | None = None
) -> Arm:
    settings, records = material.settings, material.records[name]
    answered = [record for record in records if record.ok]
    metered = [record for record in records if record.metered]
    scorers = [SELECTION, *settings.quality.scorers]
    columns = {scorer: quality_column(material, name, scorer) for scorer in scorers}
    costs = cost_column(material, name)
    primary = settings.quality.primary
    hour = settings.prices.machine_hour
    return Arm(
        name=name,
        model=settings.arms[name].model,
        n=typical_n(records),
        training=settings.arms[name].training,
        greedy=is_greedy(settings, name),
        same_as_base=same_as_base,
        asked=len(records),
        answered=len(answered),
        failures=dict(Counter(record.outcome for record in records if not record.ok)),
        degraded=dict(Counter(r.degraded for r in answered if r.degraded is not None)),
        unscored=sum(material.score(primary, record) is None for record in answered),
        unmetered=len(answered) - len(metered),
        quality={
            scorer: None if column is None else material.resamples.mean(column)
            for scorer, column in columns.items()
        },
        quality_answered={
            scorer: _mean([material.score(scorer, record) for record in answered])
            for scorer in scorers
        },
        win_rate=_win_rate(material, name),
        judged=_judged(material, name),
        tokens=Spent(
            _mean([r.prompt_tokens for r in metered]) or 0.0,
            _mean([r.winner_tokens for r in metered]) or 0.0,
            _mean([r.discarded_tokens for r in metered]) or 0.0,
            _mean([r.reward_tokens for r in metered]) or 0.0,
        ),
        cost=None if costs is None else material.resamples.mean(costs),
        latency=tuple(
            latency_of(material, name, phase)
            for phase in dict.fromkeys(record.key.phase for record in records)
        ),
        overhead_ms=_timing(answered, "overhead"),
        engine_ms=_timing(answered, "generate"),
        scoring_ms=_timing(answered, "score"),
        highest_rate=highest_rate,
        cost_at_rate=None if hour is None or not highest_rate else hour / HOUR_S / highest_rate,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _timing(records: Sequence[ArmRecord], name: str) -> float | None:
    values = [record.timings_ms[name] for record in records if name in record.timings_ms]
    return median(values) if values else None


def _win_rate(material: Material, arm: str) -> Interval | None:
    """Request by request of the same phase, prompt and repeat; a failure loses to any answer."""
    scorer = material.settings.quality.primary

    def score(record: ArmRecord) -> float | None:
        return material.score(scorer, record) if record.ok else -math.inf

    def verdict(ours: ArmRecord, theirs: ArmRecord) -> float | None:
        one, other = score(ours), score(theirs)
        return None if one is None or other is None else win(one, other)

    return _paired(material, arm, verdict)


def _judged(material: Material, arm: str) -> Interval | None:
    if material.settings.quality.judge is None:
        return None

    def verdict(ours: ArmRecord, theirs: ArmRecord) -> float | None:
        if not (ours.ok and theirs.ok):
            return 0.5 + 0.5 * (ours.ok - theirs.ok)
        if ours.text == theirs.text:
            return 0.5
        return material.scores.get(JUDGE, ours.key.prompt, ours.text, theirs.text)

    return _paired(material, arm, verdict)


def _paired(
    material: Material, arm: str, verdict: Callable[[ArmRecord, ArmRecord], float | None]
) -> Interval | None:
    """The mean verdict over prompts, against the same request of the arm ``against``. ``verdict``
    is 1 for our answer, 0 for theirs, 0.5 for a tie, None if unknown."""
    against = material.settings.against
    if arm == against:
        return None
    theirs = {r.key._replace(arm=arm): r for r in material.records[against]}
    column = []
    for records in material.by_prompt(arm):
        verdicts = [verdict(r, theirs[r.key]) for r in records if r.key in theirs]
        known = [value for value in verdicts if value is not None]
        if known:
            column.append(fmean(known))
    if not column:
        return None
    if len(column) == len(material.prompts):
        return material.resamples.mean(column)
    settings = material.settings
    own = Resamples(len(column), settings.resamples, settings.confidence, settings.seed)
    return own.mean(column)
