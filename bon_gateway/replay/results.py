"""What a replay found: the tree that ``results.json`` holds. Times are milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from bon_gateway.compare.statistics import Interval

RESULTS = "results.json"
FORMAT = 1
"""Version of the file's format."""


@dataclass(frozen=True)
class BesideBase:
    """A row beside plain best-of-N at the same prompts. None where one of them is unknown."""

    tokens_percent: Interval
    latency_percent: Interval
    reward: Interval | None
    """What the row has more."""
    gold: Interval | None


@dataclass(frozen=True)
class ReplayRow:
    """One way to answer, a request's means."""

    name: str
    settings: Mapping[str, object] | None
    """The strategy's; None for the rows that no strategy answers."""
    drawn: float
    """Candidates, those that were stopped included."""
    rounds: float
    """Draws one after another."""
    tokens: Interval
    """Generated tokens of all candidates."""
    scored: float
    """Answers that the reward model read."""
    scored_tokens: float
    """Their tokens as the policy counts them, and the prompt's for each, if pools say it."""
    reward: Interval | None
    """Recorded reward of the answer; None where it is unknown."""
    gold: Interval | None
    latency: Interval
    latency_p95: float
    failed: int
    """Replays that ended in an error; each counts as the worst usable answer of its pool."""
    degraded: Mapping[str, int]
    """Replays that lost something, by code."""
    beside: BesideBase | None
    """None for the base row itself."""


@dataclass(frozen=True)
class ReplayResults:
    version: str
    source: str
    """Who drew and scored the candidates, in words."""
    base: str
    """Name of the row with which all are compared."""
    n: int
    """Its N."""
    requests: int
    """Pools that were replayed."""
    prompts: int
    """Different prompts among them: the units of the intervals."""
    permutations: int
    confidence: float
    known_rewards: int
    """Prompts whose usable candidates all have a reward. Rewards are compared at these."""
    known_golds: int
    rows: tuple[ReplayRow, ...]
    setup: Mapping[str, str] = field(default_factory=dict)
    """What was replayed and how, in words."""
    warnings: tuple[str, ...] = ()
    format: int = FORMAT


def to_json(results: ReplayResults) -> bytes:
    return orjson.dumps(results, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
