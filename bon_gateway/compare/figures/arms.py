"""From records and scores to the figures of each arm. Pure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, mode

from bon_gateway.compare.ask.schedule import WARM_UP
from bon_gateway.compare.ask.scoring import JUDGE, KnownScores
from bon_gateway.compare.figures.economics import HOUR_S, TokenPrices, Tokens, cost, per_token
from bon_gateway.compare.figures.results import QUANTILES, Arm, Latency, Spent
from bon_gateway.compare.greedy import is_greedy
from bon_gateway.compare.settings import SELECTION, ArmSettings, CompareSettings
from bon_gateway.compare.statistics import (
    Interval,
    Resamples,
    quantile_interval,
    slowest_of,
    win,
)
from bon_gateway.compare.types import ArmRecord

TOO_MANY_LOST = 0.05
"""Share of an arm's requests, failed or unscored, above which its means cannot be trusted."""
CURVE_POINTS = 400
"""Points of a latency curve; more make the page larger and the picture no better."""


@dataclass(frozen=True)
class Material:
    """Everything that figures are made of. A column has one value for each paired prompt."""

    settings: CompareSettings
    records: Mapping[str, Sequence[ArmRecord]]
    """By arm, of paired prompts, without the warm-up."""
    prompts: Sequence[int]
    """The paired prompts, which every arm was asked, in the order of every column."""
    scores: KnownScores
    resamples: Resamples

    def by_prompt(self, arm: str) -> list[list[ArmRecord]]:
        found: dict[int, list[ArmRecord]] = defaultdict(list)
        for record in self.records[arm]:
            found[record.key.prompt].append(record)
        return [found[prompt] for prompt in self.prompts]

    def score(self, scorer: str, record: ArmRecord) -> float | None:
        """The score of an answered request's winner."""
        if scorer == SELECTION:
            return record.reward
        return self.scores.get(scorer, record.key.prompt, record.text)


def material(
    settings: CompareSettings, records: Sequence[ArmRecord], scores: KnownScores
) -> Material:
    """Keeps the prompts that every arm was asked, so that all figures are paired."""
    measured = [r for r in records if r.key.phase != WARM_UP and r.key.arm in settings.arms]
    asked = {arm: {r.key.prompt for r in measured if r.key.arm == arm} for arm in settings.arms}
    paired = sorted(set.intersection(*asked.values()))
    by_arm = {
        arm: [r for r in measured if r.key.arm == arm and r.key.prompt in set(paired)]
        for arm in settings.arms
    }
    resamples = Resamples(
        max(1, len(paired)), settings.resamples, settings.confidence, settings.seed
    )
    return Material(settings, by_arm, paired, scores, resamples)


def prices(settings: CompareSettings, arm: ArmSettings) -> TokenPrices:
    read, generated = per_token(arm.policy_price or settings.prices.policy)
    scored, _ = per_token(arm.reward_price or settings.prices.reward)
    return TokenPrices(read, generated, scored)


def tokens_of(record: ArmRecord) -> Tokens:
    """Of a request: all its candidates' together."""
    return Tokens(record.prompt_tokens, record.completion_tokens, record.reward_tokens)


def quality_column(material: Material, arm: str, scorer: str) -> list[float] | None:
    """The mean score at each prompt. A failed request counts as the worst score that any arm has
    at its prompt, or anywhere if there is none there. Answers without a score are left out, and a
    prompt without any score gets the arm's mean. None if the arm has no score at all."""
    worst = worst_scores(material, scorer)
    anywhere = min(worst.values(), default=None)
    if anywhere is None or not any(
        r.ok and material.score(scorer, r) is not None for r in material.records[arm]
    ):
        return None
    column: list[float | None] = []
    for prompt, records in zip(material.prompts, material.by_prompt(arm), strict=True):
        values = [
            material.score(scorer, record) if record.ok else worst.get(prompt, anywhere)
            for record in records
        ]
        known = [value for value in values if value is not None]
        column.append(fmean(known) if known else None)
    mean = fmean(value for value in column if value is not None)
    return [mean if value is None else value for value in column]


def worst_scores(material: Material, scorer: str) -> dict[int, float]:
    """At each prompt, of all arms."""
    worst: dict[int, float] = {}
    for records in material.records.values():
        for record in records:
            value = material.score(scorer, record) if record.ok else None
            if value is not None:
                prompt = record.key.prompt
                worst[prompt] = min(value, worst.get(prompt, math.inf))
    return worst


def cost_column(material: Material, arm: str) -> list[float] | None:
    """Money for an answered request at each prompt; the arm's mean where the tokens are not known.
    None if they are known nowhere, or the policy has no price."""
    chosen = material.settings.arms[arm]
    if (chosen.policy_price or material.settings.prices.policy) is None:
        return None
    price = prices(material.settings, chosen)
    per_prompt = [
        [cost(tokens_of(record), price) for record in records if record.metered]
        for records in material.by_prompt(arm)
    ]
    paid = [value for values in per_prompt for value in values]
    if not paid:
        return None
    return [fmean(values) if values else fmean(paid) for values in per_prompt]


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
            _latency(material, name, phase)
            for phase in dict.fromkeys(record.key.phase for record in records)
        ),
        overhead_ms=_timing(answered, "overhead"),
        engine_ms=_timing(answered, "generate"),
        scoring_ms=_timing(answered, "score"),
        highest_rate=highest_rate,
        cost_at_rate=None if hour is None or not highest_rate else hour / HOUR_S / highest_rate,
    )


def typical_n(records: Sequence[ArmRecord]) -> int:
    """The N of most answers."""
    sizes = [record.n for record in records if record.ok]
    return mode(sizes) if sizes else 1


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


def _latency(material: Material, arm: str, phase: str) -> Latency:
    records = [r for r in material.records[arm] if r.key.phase == phase]
    n = typical_n(records)
    singles = _single_latencies(material, arm, phase) if n > 1 else []
    first = [r.first_token_s for r in records if r.first_token_s is not None]
    return Latency(
        phase=phase,
        requests=len(records),
        quantiles=_quantiles(material, [r.latency_s if r.ok else math.inf for r in records]),
        service=_quantiles(material, [r.service_s if r.ok else math.inf for r in records]),
        first_token=_quantiles(material, first) if first else None,
        shift={f"{q:g}": 1000 * slowest_of(singles, n, q) for q in QUANTILES} if singles else None,
        curve=_answered_within(records),
    )


def _answered_within(records: Sequence[ArmRecord]) -> tuple[tuple[float, float], ...]:
    ordered = sorted(1000 * record.latency_s for record in records if record.ok)
    step = max(1, math.ceil(len(ordered) / CURVE_POINTS))
    # From the slowest down, so that the last point is the share that was answered at all.
    ranks = range(len(ordered), 0, -step)
    return tuple((round(ordered[rank - 1], 3), rank / len(records)) for rank in reversed(ranks))


def _quantiles(material: Material, seconds: Sequence[float]) -> dict[str, Interval]:
    values = [1000 * value for value in seconds]
    confidence = material.settings.confidence
    return {f"{q:g}": quantile_interval(values, q, confidence) for q in QUANTILES}


def _single_latencies(material: Material, like: str, phase: str) -> list[float]:
    """Seconds of the same policy's single answers in that phase, ascending."""
    training = material.settings.arms[like].training
    for arm, settings in material.settings.arms.items():
        records = [r for r in material.records[arm] if r.key.phase == phase]
        sampled = settings.training == training and not is_greedy(material.settings, arm)
        if sampled and records and typical_n(records) == 1:
            return sorted(r.latency_s if r.ok else math.inf for r in records)
    return []
