"""What each objective means for data: which lines it reads, what it takes of them, which loss."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trainers.base.data import Message, Pair, Record
from trainers.reward.objectives import (
    AllPairs,
    DimensionPairs,
    DimensionRankings,
    Listwise,
    Objective,
    Pairwise,
    Regression,
)
from trainers.reward.records import (
    Ranking,
    ScoredAnswer,
    StrictRanking,
    dimension_pair,
    dimension_ranking,
    dimension_scores,
)
from trainers.reward.settings import RewardSettings

Answers = list[tuple[str, list[Message]]]
"""Names and messages of a record's answers."""


@dataclass(frozen=True)
class Task:
    """One way to learn rewards."""

    noun: str
    """What a line is called in reports."""
    record: type[Record]
    answers: Callable[[Any], Answers]
    targets: Callable[[Any], dict[str, Any]]
    """What the objective needs of a record beside its answers."""
    objective: Objective


def task_of(settings: RewardSettings) -> Task:
    """The task that the settings ask for."""
    center = settings.center_rewards or 0.0
    names = list(settings.dimensions or ())
    if names and settings.objective in ("listwise", "all_pairs"):
        strict = settings.objective == "listwise"
        ranking = dimension_ranking(names, strict=strict)
        objective = DimensionRankings(strict, center)
        return Task("rankings", ranking, _listed, _score_table(names), objective)
    if settings.objective == "listwise":
        return Task("rankings", StrictRanking, _ranked, _nothing, Listwise(center))
    if settings.objective == "all_pairs":
        return Task("rankings", Ranking, _ranked, _values, AllPairs(center))
    if settings.objective == "regression":
        if names:
            record = dimension_scores(names)
            return Task("answers", record, _one, _numbers("scores", names), Regression())
        return Task("answers", ScoredAnswer, _one, _score, Regression())
    if names:
        targets = _numbers("preferences", names)
        return Task("pairs", dimension_pair(names), _pair, targets, DimensionPairs(center))
    margin = _nothing if settings.margin_weight is None else _margin(settings.margin_weight)
    return Task("pairs", Pair, _pair, margin, Pairwise(center))


def _pair(record: Any) -> Answers:
    return [("chosen", record.chosen), ("rejected", record.rejected)]


def _ranked(record: Any) -> Answers:
    return [(f"rank {i}", one.answer) for i, one in enumerate(record.best_first, start=1)]


def _listed(record: Any) -> Answers:
    return [(f"answer {i}", one.answer) for i, one in enumerate(record.candidates, start=1)]


def _score_table(names: list[str]) -> Callable[[Any], dict[str, Any]]:
    """A row for each answer."""
    return lambda record: {
        "values": [[one.scores[name] for name in names] for one in record.candidates]
    }


def _one(record: Any) -> Answers:
    return [("answer", record.answer)]


def _nothing(record: Any) -> dict[str, Any]:
    del record
    return {}


def _values(record: Any) -> dict[str, Any]:
    return {"values": [candidate.score for candidate in record.best_first]}


def _score(record: Any) -> dict[str, Any]:
    return {"scores": [record.score]}


def _numbers(field: str, names: list[str]) -> Callable[[Any], dict[str, Any]]:
    return lambda record: {field: [float(getattr(record, field).get(n, 0)) for n in names]}


def _margin(weight: float) -> Callable[[Any], dict[str, Any]]:
    """A pair of unknown margin asks for none."""
    return lambda record: {"margin": weight * (record.margin or 0.0)}
