"""How long the answers of an arm took. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bon_gateway.compare.figures.material import Material, typical_n
from bon_gateway.compare.figures.results import QUANTILES, Latency
from bon_gateway.compare.greedy import is_greedy
from bon_gateway.compare.statistics import Interval, quantile_interval, slowest_of
from bon_gateway.compare.types import ArmRecord

CURVE_POINTS = 400
"""Points of a latency curve; more make the page larger and the picture no better."""


def latency_of(material: Material, arm: str, phase: str) -> Latency:
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
        curve=answered_within(records),
    )


def answered_within(records: Sequence[ArmRecord]) -> tuple[tuple[float, float], ...]:
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
