"""What a comparison found: the tree that ``results.json`` holds. Times are milliseconds.

In JSON an infinite bound is null, as JSON has no infinity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from bon_gateway.compare.statistics import Interval

RESULTS = "results.json"
FORMAT = 1
"""Of the file; another one is not read."""
QUANTILES = (0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Latency:
    """One arm in one phase. A failed request counts as one that took for ever."""

    phase: str
    requests: int
    quantiles: Mapping[str, Interval]
    """By level, from the intended start to the end of the answer."""
    service: Mapping[str, Interval]
    """The same from the moment of sending: what a closed loop would have seen."""
    first_token: Mapping[str, Interval] | None
    shift: Mapping[str, float] | None
    """Quantiles of the slowest of n independent single answers, for n > 1."""
    curve: tuple[tuple[float, float], ...] = ()
    """Time and the share of all requests that were answered within it, for the plot: every
    answer, or evenly chosen ones of many."""


@dataclass(frozen=True)
class Spent:
    """Mean tokens of an answered request."""

    prompt: float
    winner: float
    discarded: float
    scored: float


@dataclass(frozen=True)
class Arm:
    name: str
    model: str
    n: int
    training: str | None
    asked: int
    answered: int
    failures: Mapping[str, int]
    degraded: Mapping[str, int]
    unscored: int
    """Answered, but without a score of the primary scorer."""
    unmetered: int
    """Answered, but without ``usage``: left out of tokens and cost."""
    quality: Mapping[str, Interval | None]
    """By scorer; a failed request counts as the worst answer that its prompt got. None: no
    score."""
    quality_answered: Mapping[str, float | None]
    """Means of the answered requests alone."""
    win_rate: Interval | None
    """Against the chosen arm, by the primary scorer; None for that arm itself."""
    judged: Interval | None
    tokens: Spent
    cost: Interval | None
    """Money for an answered request."""
    latency: tuple[Latency, ...]
    overhead_ms: float | None
    """Median of what the gateway itself added."""
    engine_ms: float | None
    """Median of generating."""
    scoring_ms: float | None
    """Median of what scoring added after the last candidate."""
    highest_rate: float | None = None
    """Requests a second that still met the target; None if it was not looked for."""
    cost_at_rate: float | None = None
    """Money for a request on machines that do nothing else, at the highest rate."""


@dataclass(frozen=True)
class CurvePoint:
    n: int
    quality: Interval
    cost: float | None
    """Money for a request, by the model."""


@dataclass(frozen=True)
class Tuned:
    """One tuned arm against best-of-N of the base policy."""

    arm: str
    training_money: float
    matched_n: Interval
    compared_n: int
    """The N whose cost is compared: the matched one, or the largest that was measured."""
    bon_cost: Interval
    tuned_cost: Interval
    break_even: Interval
    """Requests."""
    days: Interval
    """Until then, at the traffic of the settings."""
    bon_month: float
    tuned_month: float
    """Retraining included."""
    month_break_even: float | None
    """Requests a month that pay for the retraining; None without retraining."""
    sensitivity: Mapping[str, float]
    sound: bool
    """False where failures or missing scores are too many to compare."""


@dataclass(frozen=True)
class Results:
    title: str
    version: str
    complete: bool
    planned: int
    measured: int
    prompts: int
    paired_prompts: int
    """Prompts for which every arm has an answer or a failure; figures are of these."""
    primary: str
    against: str
    confidence: float
    currency: str
    requests_per_day: float
    target: Mapping[str, float] | None
    arms: tuple[Arm, ...]
    curve: tuple[CurvePoint, ...]
    curve_source: str
    pareto: tuple[str, ...]
    tuned: tuple[Tuned, ...]
    warnings: tuple[str, ...] = ()
    verdict: tuple[str, ...] = ()
    format: int = FORMAT


def to_json(results: Results) -> bytes:
    tree = _finite(asdict(results))
    return orjson.dumps(tree, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def write(results: Results, folder: Path) -> Path:
    path = folder / RESULTS
    path.write_bytes(to_json(results))
    return path


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(below) for below in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
