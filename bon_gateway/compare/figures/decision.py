"""The curve of best-of-N, and against it the matched N and break-even of each tuned arm. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bon_gateway.compare.figures.arms import (
    Material,
    cost_column,
    prices,
    quality_column,
    tokens_of,
    typical_n,
)
from bon_gateway.compare.figures.economics import (
    TokenPrices,
    Tokens,
    best_of_n_tokens,
    break_even,
    cost,
    mean_tokens,
    monthly,
    sensitivity,
)
from bon_gateway.compare.figures.quality import (
    NEVER_WINS,
    Curve,
    Sampled,
    estimated_curve,
    matched_n,
)
from bon_gateway.compare.figures.results import CurvePoint, Tuned
from bon_gateway.compare.settings import SELECTION
from bon_gateway.compare.statistics import Interval
from bon_gateway.compare.types import ArmRecord

TOO_MANY_LOST = 0.05
"""Share of an arm's requests, failed or unscored, above which its means cannot be trusted."""


@dataclass(frozen=True)
class BaseCurve:
    """Quality and cost of best-of-N of the base policy at every N that is known."""

    quality: Curve
    costs: Mapping[int, Sequence[float]] | None
    """Money at each prompt, by the model; None without prices."""
    candidate: Mapping[int, Tokens]
    """For each N the mean tokens of one candidate."""
    source: str
    price: TokenPrices
    arms: Mapping[int, str]
    """The arms that were measured."""


def base_curve(material: Material) -> BaseCurve | None:
    """From the candidates of the widest base arm where the endpoint gives them, else from the
    base arms as they were measured. None if no base arm has a score."""
    arms = _base_arms(material)
    if not arms:
        return None
    widest = arms[max(arms)]
    quality, source = _from_candidates(material, widest), f"the candidates of {widest}"
    if quality is None:
        quality, source = _as_measured(material, arms), "the arms as they were measured"
    price = prices(material.settings, material.settings.arms[widest])
    columns = _candidate_columns(material, arms, list(quality))
    costs = None
    if columns and cost_column(material, widest) is not None:
        costs = {
            n: [cost(best_of_n_tokens(one, n), price) for one in column]
            for n, column in columns.items()
        }
    candidate = {n: mean_tokens(column) for n, column in columns.items()}
    return BaseCurve(quality, costs, candidate, source, price, arms)


def _as_measured(material: Material, arms: Mapping[int, str]) -> Curve:
    primary = material.settings.quality.primary
    columns = {n: quality_column(material, arm, primary) for n, arm in sorted(arms.items())}
    return {n: column for n, column in columns.items() if column is not None}


def _candidate_columns(
    material: Material, arms: Mapping[int, str], sizes: Sequence[int]
) -> dict[int, list[Tokens]]:
    """For each N the tokens of one candidate at each prompt, of the arm whose N is nearest by
    ratio. Empty if no arm's tokens are known."""
    metered = [n for n, arm in arms.items() if any(r.metered for r in material.records[arm])]
    if not metered:
        return {}
    columns = {n: _candidate_column(material, arms[n]) for n in metered}
    return {n: columns[min(metered, key=lambda m: (abs(math.log(m / n)), m))] for n in sizes}


def _candidate_column(material: Material, arm: str) -> list[Tokens]:
    """At each prompt; the arm's mean where the tokens are not known."""

    def candidate(record: ArmRecord) -> Tokens:
        whole, n = tokens_of(record), max(1, record.n)
        return Tokens(whole.prompt, whole.completion / n, whole.scored / n)

    column = [
        mean_tokens([candidate(r) for r in metered]) if metered else None
        for records in material.by_prompt(arm)
        for metered in [[r for r in records if r.metered]]
    ]
    mean = mean_tokens([one for one in column if one is not None])
    return [one or mean for one in column]


def curve_points(curve: BaseCurve, material: Material) -> tuple[CurvePoint, ...]:
    return tuple(
        CurvePoint(
            n,
            material.resamples.mean(column),
            None if curve.costs is None else fmean(curve.costs[n]),
        )
        for n, column in curve.quality.items()
    )


def tuned_figures(material: Material, curve: BaseCurve, name: str, training: float) -> Tuned | None:
    """None without prices or a score: then there is nothing to compare."""
    quality = quality_column(material, name, material.settings.quality.primary)
    own = cost_column(material, name)
    if quality is None or own is None or curve.costs is None:
        return None
    settings = material.settings
    matched = matched_n(curve.quality, quality, material.resamples)
    largest = max(curve.quality)
    compared = largest if math.isinf(matched.value) else int(matched.value)
    broken = _break_even(material, curve, quality, own, training, compared)
    per_day = settings.requests_per_day
    retrains = settings.training[settings.arms[name].training or ""].retrains_per_month
    bon, tuned = fmean(curve.costs[compared]), fmean(own)
    rows = sensitivity(
        training,
        curve.candidate[compared],
        mean_tokens([tokens_of(record) for record in material.records[name] if record.metered]),
        (curve.price, prices(settings, settings.arms[name])),
        (compared, _known(matched.low, curve), _known(matched.high, curve)),
    )
    return Tuned(
        arm=name,
        training_money=training,
        matched_n=matched,
        compared_n=compared,
        bon_cost=material.resamples.mean(curve.costs[compared]),
        tuned_cost=material.resamples.mean(own),
        break_even=broken,
        days=broken.map(lambda requests: requests / per_day),
        bon_month=monthly(bon, per_day),
        tuned_month=monthly(tuned, per_day, retrains * training),
        month_break_even=break_even(retrains * training, bon, tuned) if retrains else None,
        sensitivity=rows,
        sound=_sound(material, [name, *curve.arms.values()]),
    )


def _break_even(
    material: Material,
    curve: BaseCurve,
    quality: Sequence[float],
    own: Sequence[float],
    training: float,
    compared: int,
) -> Interval:
    """Each resample of the prompts finds its own matched N, and its own costs at it."""
    assert curve.costs is not None, "the caller has asked"
    sizes = sorted(curve.quality)
    count = len(sizes)

    def requests(means: Sequence[float]) -> float:
        bon, costs, (wanted, tuned) = means[:count], means[count:-2], means[-2:]
        place = next((i for i, m in enumerate(bon) if m >= wanted), count - 1)
        return break_even(training, costs[place], tuned)

    columns = [*(curve.quality[n] for n in sizes), *(curve.costs[n] for n in sizes), quality, own]
    value = break_even(training, fmean(curve.costs[compared]), fmean(own))
    return material.resamples.interval(value, material.resamples.of_means(requests, columns))


def _base_arms(material: Material) -> dict[int, str]:
    """By N; the first of several arms with the same N."""
    arms: dict[int, str] = {}
    for name, settings in material.settings.arms.items():
        scored = quality_column(material, name, material.settings.quality.primary)
        if settings.training is None and scored is not None:
            arms.setdefault(typical_n(material.records[name]), name)
    return arms


def _from_candidates(material: Material, arm: str) -> Curve | None:
    """None unless every prompt has a request whose candidates are all known."""
    prompts = []
    for records in material.by_prompt(arm):
        sampled = [_sampled(material, record) for record in records if record.ok]
        whole = [one for one in sampled if one is not None]
        if not whole:
            return None
        prompts.append(whole)
    largest = min(len(one.proxy) for samples in prompts for one in samples)
    return estimated_curve(prompts, largest) if largest > 1 else None


def _sampled(material: Material, record: ArmRecord) -> Sampled | None:
    """None if a candidate that finished has no reward, or one that could win no score."""
    primary = material.settings.quality.primary
    proxy, quality = [], []
    for candidate in record.candidates:
        if candidate.status not in ("finished", "truncated") or candidate.reward is None:
            return None
        score: float | None = candidate.reward
        if primary != SELECTION:
            text, prompt = candidate.text, record.key.prompt
            score = None if text is None else material.scores.get(primary, prompt, text)
        if score is None:
            return None
        proxy.append(candidate.reward + (NEVER_WINS if candidate.status == "truncated" else 0.0))
        quality.append(score)
    return Sampled(proxy, quality) if proxy else None


def _known(n: float, curve: BaseCurve) -> int:
    return max(curve.quality) if math.isinf(n) else int(n)


def _sound(material: Material, arms: Sequence[str]) -> bool:
    primary = material.settings.quality.primary
    for arm in arms:
        records = material.records[arm]
        lost = sum(not r.ok or material.score(primary, r) is None for r in records)
        if lost > TOO_MANY_LOST * len(records):
            return False
    return True
