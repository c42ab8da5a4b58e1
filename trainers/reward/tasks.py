"""What each objective reads: the kind of line, its answers and targets, and the loss."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from bon_common.process_reward import StepReading
from trainers.base.data import Message, Pair, Record
from trainers.reward import objectives
from trainers.reward.objectives import Objective
from trainers.reward.records import (
    DimensionPair,
    DimensionRanking,
    DimensionScores,
    Ranking,
    ScoredAnswer,
    StrictDimensionRanking,
    StrictRanking,
    with_dimensions,
)
from trainers.reward.settings import RewardTrainSettings
from trainers.rewards.steps import LabelledSteps

UNKNOWN = -1.0
"""The label of a step without one."""
Answers = list[tuple[str, list[Message]]]
"""Names and messages of a record's answers."""


@dataclass(frozen=True)
class RewardTask:
    """One way to learn rewards."""

    noun: str
    """The name of the records in reports."""
    record: type[Record]
    answers: Callable[[Any], Answers]
    targets: Callable[[Any], dict[str, Any]]
    """The labels of a record that the objective needs beside its answers."""
    objective: Objective
    weights: tuple[float, ...] | None = None
    """Weights of the outputs in the logged reward; None takes the settings'."""


def task_of(settings: RewardTrainSettings) -> RewardTask:
    """The task that the settings ask for."""
    names = list(settings.dimensions or ())
    if settings.objective in ("listwise", "all_pairs"):
        return _list_task(names, strict=settings.objective == "listwise")
    if settings.objective == "stepwise":
        return _step_task(settings.steps.reading)
    if settings.objective == "regression":
        record = with_dimensions(DimensionScores, names) if names else ScoredAnswer
        targets = _numbers("scores", names) if names else _score
        return RewardTask("answers", record, _one, targets, objectives.score_losses)
    if names:
        record, targets = with_dimensions(DimensionPair, names), _numbers("preferences", names)
        return RewardTask("pairs", record, _pair, targets, objectives.dimension_pair_losses)
    margin = _nothing if settings.margin_weight is None else _margin(settings.margin_weight)
    return RewardTask("pairs", Pair, _pair, margin, objectives.pair_losses)


def _step_task(reading: StepReading) -> RewardTask:
    def answer(record: Any) -> Answers:
        return [("answer", record.answered(reading).messages[-1:])]

    def labels(record: Any) -> dict[str, Any]:
        return {"labels": [UNKNOWN if label is None else label for label in record.labels]}

    # The reward in the log is a step's log-odds of being right.
    return RewardTask(
        "answers", LabelledSteps, answer, labels, objectives.step_losses, weights=(-1.0, 1.0)
    )


def _list_task(names: list[str], *, strict: bool) -> RewardTask:
    if names:
        kind = StrictDimensionRanking if strict else DimensionRanking
        objective = partial(objectives.dimension_ranking_losses, strict=strict)
        record = with_dimensions(kind, names)
        return RewardTask("rankings", record, _listed, _score_table(names), objective)
    if strict:
        return RewardTask("rankings", StrictRanking, _ranked, _nothing, objectives.ranking_losses)
    return RewardTask("rankings", Ranking, _ranked, _values, objectives.tied_ranking_losses)


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
