"""What a comparison found: the tree that ``results.json`` holds. Times are milliseconds.

JSON has no infinity: an infinite bound is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from bon_gateway.compare.statistics import Interval

RESULTS = "results.json"
FORMAT = 1
"""Version of the file's format; ``diff`` reads no other."""
QUANTILES = (0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Latency:
    """One arm in one phase. The latency of a failed request is infinite."""

    phase: str
    requests: int
    quantiles: Mapping[str, Interval]
    """By level, from the intended start to the end of the answer."""
    service: Mapping[str, Interval]
    """The same from the moment of sending: what a closed loop would measure."""
    first_token: Mapping[str, Interval] | None
    shift: Mapping[str, float] | None
    """Quantiles of the slowest of n independent single answers, for n > 1."""
    curve: tuple[tuple[float, float], ...] = ()
    """For the plot: a time, and the share of all requests answered within it. One point for each
    answer, or for evenly chosen ones."""


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
    greedy: bool
    """Drawn at temperature 0."""
    same_as_base: str | None
    """Why an arm with ``training`` is the base policy all the same, in words; else None."""
    asked: int
    answered: int
    failures: Mapping[str, int]
    degraded: Mapping[str, int]
    unscored: int
    """Answers without a score of the primary scorer."""
    unmetered: int
    """Answers without ``usage``, which are left out of tokens and cost."""
    quality: Mapping[str, Interval | None]
    """By scorer; a failed request counts as the worst answer that its prompt got. None: no
    score."""
    quality_answered: Mapping[str, float | None]
    """Means of the answered requests alone."""
    win_rate: Interval | None
    """Against the arm ``against``, by the primary scorer; None for that arm itself."""
    judged: Interval | None
    tokens: Spent
    cost: Interval | None
    """Money for an answered request."""
    latency: tuple[Latency, ...]
    overhead_ms: float | None
    """Median that the gateway itself added."""
    engine_ms: float | None
    """Median of generation."""
    scoring_ms: float | None
    """Median that scoring added after the last candidate."""
    highest_rate: float | None = None
    """Requests a second that still met the target; None without ``target``."""
    cost_at_rate: float | None = None
    """Money for a request at the highest rate, on machines that do nothing else."""


@dataclass(frozen=True)
class Choice:
    """Other choices among the candidates of one arm, by the primary scorer."""

    arm: str
    n: int
    random: Interval
    """Quality of a candidate taken at random."""
    oracle: Interval
    """Quality of the best candidate: no choice among these can be better."""
    way: Interval | None
    """The share of the way from greedy decoding to the oracle that the arm makes; None without a
    greedy arm, or where the oracle is not clearly above it."""
    unknown: int
    """Answers whose candidates have no scores, which are left out."""


@dataclass(frozen=True)
class Difference:
    """What ``ours`` has more than ``theirs`` at the same prompts, by the primary scorer. Both are
    arms, or choices among an arm's candidates."""

    ours: str
    theirs: str
    difference: Interval
    prompts: int
    decided: bool
    """Whether the interval leaves out zero."""
    prompts_needed: int | None
    """Prompts at which it would, if mean and spread stay as observed. None where it is decided, and
    where the difference is exactly zero."""


@dataclass(frozen=True)
class Answer:
    """One arm's answer in an example; the text is None for a failed request."""

    arm: str
    text: str | None
    score: float


@dataclass(frozen=True)
class Example:
    """The answers of two arms to one prompt."""

    prompt: str
    ours: Answer
    theirs: Answer


@dataclass(frozen=True)
class Examples:
    """Of two arms, the largest wins and the largest losses of the first one."""

    ours: str
    theirs: str
    wins: tuple[Example, ...]
    losses: tuple[Example, ...]
    counts: tuple[int, int, int]
    """Requests won, tied and lost."""


@dataclass(frozen=True)
class CurvePoint:
    n: int
    quality: Interval
    cost: float | None
    """Money for a request, as docs/compare.md computes it."""
    random: Interval | None
    """Quality of random choice among N; None where the candidates are not known."""
    oracle: Interval | None
    """Quality of the best of N by the primary scorer itself."""
    above_greedy: Difference | None
    """Best-of-N less greedy decoding; None without a greedy arm."""


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
    above_one: Difference
    """The arm less one sample of the base policy."""
    undecided: str | None
    """Why there is no break-even, in words; None if there is one."""
    break_even: Interval | None
    """Requests."""
    days: Interval | None
    """Days until the break-even, at ``requests_per_day``."""
    bon_month: float
    tuned_month: float
    """Retraining included."""
    month_break_even: float | None
    """Requests a month that pay for the retraining; None without retraining."""
    sensitivity: Mapping[str, float]
    """Empty without a break-even."""
    sound: bool
    """False where too many requests failed or have no score to compare."""


@dataclass(frozen=True)
class Results:
    title: str
    version: str
    complete: bool
    planned: int
    measured: int
    prompts: int
    paired_prompts: int
    """Prompts that every arm was asked; figures are of these."""
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
    choices: tuple[Choice, ...] = ()
    differences: tuple[Difference, ...] = ()
    examples: tuple[Examples, ...] = ()
    measured_at: str = ""
    """When the last request ended, in UTC."""
    setup: Mapping[str, str] = field(default_factory=dict)
    """What was asked, how, and at which prices, in words."""
    warnings: tuple[str, ...] = ()
    verdict: tuple[str, ...] = ()
    format: int = FORMAT


def to_json(results: Results) -> bytes:
    return orjson.dumps(results, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
