"""Quality and cost of best-of-N of the base policy at every N that is known. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bon_gateway.compare.figures.differences import Columns, difference
from bon_gateway.compare.figures.economics import (
    TokenPrices,
    Tokens,
    best_of_n_tokens,
    cost,
    mean_tokens,
)
from bon_gateway.compare.figures.material import (
    Material,
    cost_column,
    prices,
    quality_column,
    tokens_of,
    typical_n,
)
from bon_gateway.compare.figures.quality import NEVER_WINS, Curve, Sampled, estimated_curve
from bon_gateway.compare.figures.results import CurvePoint
from bon_gateway.compare.greedy import greedy_of, is_greedy
from bon_gateway.compare.settings import SELECTION
from bon_gateway.compare.types import ArmRecord


@dataclass(frozen=True)
class BaseCurve:
    """Quality and cost of best-of-N of the base policy at every N that is known."""

    quality: Curve
    oracle: Curve | None
    """What the best of N by the primary scorer has; None where the candidates are not known."""
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
    source = f"the candidates of {widest}"
    quality, oracle = _from_candidates(material, widest)
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
    return BaseCurve(quality, oracle, costs, candidate, source, price, arms)


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


def curve_points(curve: BaseCurve, material: Material, columns: Columns) -> tuple[CurvePoint, ...]:
    """The curve's points. Each is compared with the greedy arm's column, if there is one."""
    mean = material.resamples.mean
    greedy = greedy_of(material.settings, curve.arms[max(curve.arms)])
    below = None if greedy is None else columns.get(greedy)
    known = curve.oracle is not None
    return tuple(
        CurvePoint(
            n,
            mean(column),
            None if curve.costs is None else fmean(curve.costs[n]),
            random=mean(curve.quality[1]) if known else None,
            oracle=None if curve.oracle is None else mean(curve.oracle[n]),
            above_greedy=None
            if below is None or greedy is None
            else difference(material.resamples, (f"best-of-{n}", greedy), column, below),
        )
        for n, column in curve.quality.items()
    )


def _base_arms(material: Material) -> dict[int, str]:
    """By N; the first of several arms with the same N. Greedy arms only where there is no other:
    they are no sample of the policy."""
    base = [name for name, one in material.settings.arms.items() if one.training is None]
    sampled = [name for name in base if not is_greedy(material.settings, name)]
    arms: dict[int, str] = {}
    for name in sampled or base:
        if quality_column(material, name, material.settings.quality.primary) is not None:
            arms.setdefault(typical_n(material.records[name]), name)
    return arms


def _from_candidates(material: Material, arm: str) -> tuple[Curve | None, Curve | None]:
    """The curve and the oracle's. None unless every prompt has a request whose candidates are all
    known."""
    prompts = []
    for records in material.by_prompt(arm):
        sampled = [_sampled(material, record) for record in records if record.ok]
        whole = [one for one in sampled if one is not None]
        if not whole:
            return None, None
        prompts.append(whole)
    largest = min(len(one.proxy) for samples in prompts for one in samples)
    if largest < 2:
        return None, None
    by_quality = [[Sampled(one.quality, one.quality) for one in samples] for samples in prompts]
    return estimated_curve(prompts, largest), estimated_curve(by_quality, largest)


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
