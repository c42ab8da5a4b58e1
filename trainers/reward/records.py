"""The lines that a reward model can learn from, checked as they are read.

They are what `bon-train prepare` and `label` write. A line with several dimensions is checked
against their names, so that a misspelt one is an error that names it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import model_validator

from trainers.base.data import Messages, Pair, PromptedRecord, Record
from trainers.base.lines import printable


class RankedAnswer(Record):
    """One of a prompt's answers."""

    answer: Messages
    score: float
    """Higher is better; only the order counts."""


class Ranking(PromptedRecord):
    """Several answers to one prompt."""

    candidates: list[RankedAnswer]

    @model_validator(mode="after")
    def _answers_differ(self) -> "Ranking":
        _require_different([one.answer for one in self.candidates])
        if len({one.score for one in self.candidates}) == 1:
            raise ValueError("candidates: all scores are equal, so there is nothing to learn")
        return self

    @property
    def best_first(self) -> list[RankedAnswer]:
        return sorted(self.candidates, key=lambda candidate: -candidate.score)


class StrictRanking(Ranking):
    """A ranking without ties, as the Plackett-Luce loss needs it."""

    @model_validator(mode="after")
    def _no_ties(self) -> "StrictRanking":
        seen: dict[float, int] = {}
        for index, candidate in enumerate(self.candidates):
            first = seen.setdefault(candidate.score, index)
            if first != index:
                raise ValueError(
                    f"candidates.{index}: the same score as candidates.{first}; "
                    "objective all_pairs can learn from ties"
                )
        return self


class ScoredAnswer(PromptedRecord):
    """One answer with its score."""

    answer: Messages
    score: float


class DimensionPair(Pair):
    """A pair with a verdict in each dimension; see `with_dimensions`."""

    dimensions: ClassVar[tuple[str, ...]] = ()
    preferences: dict[str, Literal[-1, 0, 1]]
    """1 if chosen is better, -1 if rejected is; 0 or absent if it is unknown."""

    @model_validator(mode="after")
    def _preferences_are_known(self) -> "DimensionPair":
        _require_known(self.preferences, self.dimensions, "preferences")
        if not any(self.preferences.values()):
            raise ValueError("preferences: no dimension says which answer is better")
        return self


class DimensionScores(PromptedRecord):
    """An answer with a score in each dimension; see `with_dimensions`."""

    dimensions: ClassVar[tuple[str, ...]] = ()
    answer: Messages
    scores: dict[str, float]

    @model_validator(mode="after")
    def _scores_are_complete(self) -> "DimensionScores":
        _require_complete(self.scores, self.dimensions, "scores")
        return self


class DimensionAnswer(Record):
    """One of a prompt's answers, with a score in each dimension."""

    answer: Messages
    scores: dict[str, float]


class DimensionRanking(PromptedRecord):
    """Several answers to one prompt with an order for each dimension; see `with_dimensions`."""

    dimensions: ClassVar[tuple[str, ...]] = ()
    strict: ClassVar[bool] = False
    """Ties are refused, as the Plackett-Luce loss needs it."""
    candidates: list[DimensionAnswer]

    @model_validator(mode="after")
    def _scores_order_the_answers(self) -> "DimensionRanking":
        _require_different([one.answer for one in self.candidates])
        for index, one in enumerate(self.candidates):
            _require_complete(one.scores, self.dimensions, f"candidates.{index}.scores")
        orders = [[one.scores[name] for one in self.candidates] for name in self.dimensions]
        if all(len(set(order)) == 1 for order in orders):
            raise ValueError("candidates: all scores are equal, so there is nothing to learn")
        for name, order in zip(self.dimensions, orders, strict=True):
            if self.strict and len(set(order)) < len(order):
                raise ValueError(
                    f"candidates: equal scores in {name}; objective all_pairs can learn from ties"
                )
        return self


class StrictDimensionRanking(DimensionRanking):
    """Without ties in any dimension."""

    strict = True


def with_dimensions(kind: type[Record], names: Sequence[str]) -> type[Record]:
    """The records of a model with these dimensions; `kind` is a class with `dimensions`."""

    class Named(kind):  # type: ignore[misc, valid-type]
        dimensions = tuple(names)

    return Named


def _require_different(answers: Sequence[object]) -> None:
    if len(answers) < 2:
        raise ValueError("candidates: at least two answers are needed")
    for index, one in enumerate(answers):
        for other in range(index):
            if one == answers[other]:
                raise ValueError(f"candidates.{index}: equal to candidates.{other}")


def _require_complete(found: Mapping[str, float], known: Sequence[str], field: str) -> None:
    _require_known(found, known, field)
    for name in known:
        if name not in found:
            raise ValueError(f"{field}.{name}: missing")


def _require_known(found: Iterable[str], known: Sequence[str], field: str) -> None:
    for name in found:
        if name not in known:
            raise ValueError(
                f"{field}.{printable(name)}: no such dimension; there are {', '.join(known)}"
            )
