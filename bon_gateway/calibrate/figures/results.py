"""What a calibration found: the tree that ``results.json`` holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from bon_common.selection.spread import RewardSpread
from bon_gateway.calibrate.figures.within import RewardVariation, WithinCorrelation
from bon_gateway.compare.statistics import Interval

RESULTS = "results.json"
FORMAT = 1
"""Version of the file's format."""


@dataclass(frozen=True)
class ChosenParameter:
    key: str
    """In the strategy's settings."""
    value: float
    """Chosen on all prompts."""
    of_folds: tuple[float, ...]
    """For each fold, chosen on the others."""
    fitted: float
    """Worth of ``value`` at the prompts on which it was chosen."""


@dataclass(frozen=True)
class WayRow:
    """One way to answer, means over prompts. At each prompt the parameter is what the other folds
    of the prompts chose."""

    name: str
    settings: Mapping[str, object] | None
    """The strategy's, with the parameter that all prompts choose; None if nothing can be served."""
    parameter: ChosenParameter | None
    drawn: float
    """Candidates."""
    tokens: Interval
    reward: Interval
    gold: Interval | None
    reward_beside: Interval | None
    """More than best-of-N at the same prompts; None for best-of-N itself."""
    gold_beside: Interval | None
    share: Interval | None
    """Gold over the best gold of best-of-n at any n, in percent. None where gold is not positive:
    a share means something only if 0 is the worst."""


@dataclass(frozen=True)
class NPoint:
    """Best-of-n at one n, unbiased."""

    n: int
    tokens: Interval
    reward: Interval
    gold: Interval | None


@dataclass(frozen=True)
class OverOptimisation:
    """Gold above that of one sample = d (alpha - beta d), d the square root of the KL in nats."""

    alpha: Interval
    beta: Interval
    best_n: float | None
    """None where the fit has no top, or has it beyond the largest pool: nothing is extrapolated."""
    told: str
    """What the fit says, in words."""


@dataclass(frozen=True)
class Guarantee:
    """A threshold whose accepted answers are seldom bad."""

    name: str
    n: int
    wave: int
    threshold: float | None
    """None if no threshold passes."""
    tested: int
    """Prompts of the half that tested it."""
    accepted: int
    """Of these."""
    bad: int
    """Of the accepted ones."""
    bound: float | None
    """What the share of bad ones does not exceed, with the confidence."""
    told: str


@dataclass(frozen=True)
class Recommended:
    row: str
    """Name of the row."""
    settings: Mapping[str, object]
    because: str


@dataclass(frozen=True)
class CalibrationResults:
    version: str
    source: str
    """Who drew and scored the candidates, in words."""
    model: str
    """The served model that the settings are for."""
    requests: int
    prompts: int
    n: int
    """Candidates that a request draws at most."""
    confidence: float
    spread: RewardVariation
    correlations: tuple[WithinCorrelation, ...]
    partial: tuple[WithinCorrelation, ...]
    """Empty without partial rewards."""
    curve: tuple[NPoint, ...]
    over_optimisation: OverOptimisation | None
    rows: tuple[WayRow, ...]
    guarantees: tuple[Guarantee, ...]
    recommended: Recommended
    scales: Mapping[str, RewardSpread] = field(default_factory=dict)
    """The scale of each reward that was recorded by name, over all candidates that might win."""
    setup: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    format: int = FORMAT

    @property
    def with_gold(self) -> bool:
        return self.curve[0].gold is not None


def to_json(results: CalibrationResults) -> bytes:
    return orjson.dumps(results, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
