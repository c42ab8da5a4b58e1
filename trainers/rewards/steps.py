"""Answers with a label for each step, and how well a process reward model does on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import AliasChoices, Field, model_validator

from bon_common.process_reward import StepReading, split_steps
from reward_server.network.sequence import Rendered
from reward_server.scoring.render import Renderer
from trainers.base.bad_lines import BadLines
from trainers.base.data import Conversation, PromptedRecord
from trainers.base.errors import DataError, ModelError
from trainers.rewards.one import OneModel, render

HALF = 0.5
"""A step with at least this probability, or this label, is right."""

StepLabel = Annotated[float, Field(ge=0, le=1)] | None


class LabelledSteps(PromptedRecord):
    """An answer in steps. `completions`, TRL's name, stands for `steps`."""

    steps: Annotated[
        list[str], Field(min_length=1, validation_alias=AliasChoices("steps", "completions"))
    ]
    labels: list[StepLabel]
    """1 or true for a right step, 0 or false for a wrong one, or a share of right continuations
    between them; null if it is unknown."""

    @model_validator(mode="after")
    def _each_has_a_label(self) -> LabelledSteps:
        if len(self.labels) != len(self.steps):
            raise ValueError(f"labels: {len(self.labels)} for {len(self.steps)} steps")
        if all(label is None for label in self.labels):
            raise ValueError("labels: none is known, so there is nothing to learn")
        return self

    def answered(self, reading: StepReading) -> Conversation:
        """The conversation as the server reads it. Raises ValueError for a step that the server
        would read as none, or as several."""
        for place, step in enumerate(self.steps):
            found = split_steps(step, reading.separator)
            if found == [""]:
                raise ValueError(f"steps.{place}: empty")
            if len(found) > 1:
                raise ValueError(f"steps.{place}: holds the separator {reading.separator!r}")
            if reading.mark in step:
                raise ValueError(f"steps.{place}: holds the mark {reading.mark!r}")
        return self.asked.said(reading.separator.join(self.steps))


PlacedSteps = tuple[str, LabelledSteps]
"""A place for error messages, and the record."""


@dataclass(frozen=True)
class ScoredSteps:
    """The model's scores of an answer's steps beside their labels."""

    scores: Sequence[float]
    labels: Sequence[float | None]


@dataclass(frozen=True)
class StepFigures:
    step_accuracy: float
    """Share of labelled steps whose score is on the same side of a half as the label."""
    wrong_answers: float | None
    """Among answers with a wrong step, the share whose first wrong step the model finds; None if
    there are none."""
    right_answers: float | None
    """Among answers without a wrong step, the share in which the model finds none."""
    answers: int
    steps: int

    @property
    def f1(self) -> float | None:
        """The harmonic mean of the two shares, as ProcessBench has it (Zheng et al. 2024,
        arXiv:2412.06559); None without answers of both kinds."""
        if self.wrong_answers is None or self.right_answers is None:
            return None
        total = self.wrong_answers + self.right_answers
        return 2 * self.wrong_answers * self.right_answers / total if total else 0.0

    def table(self) -> dict[str, float]:
        """The figures under readable names."""
        found = {
            "step accuracy": self.step_accuracy,
            "first wrong step found": self.wrong_answers,
            "right answers without a wrong step": self.right_answers,
            "first-error F1": self.f1,
            "answers in steps": self.answers,
            "labelled steps": self.steps,
        }
        return {name: value for name, value in found.items() if value is not None}


def first_wrong(values: Sequence[float | None]) -> int | None:
    """Index of the first value under a half."""
    return next((i for i, value in enumerate(values) if value is not None and value < HALF), None)


def step_figures(scored: Sequence[ScoredSteps]) -> StepFigures:
    """The figures of at least one answer."""
    hits = [
        (score >= HALF) == (label >= HALF)
        for one in scored
        for score, label in zip(one.scores, one.labels, strict=True)
        if label is not None
    ]
    found = [(first_wrong(one.labels), first_wrong(one.scores)) for one in scored]
    wrong = [theirs == ours for theirs, ours in found if theirs is not None]
    right = [ours is None for theirs, ours in found if theirs is None]
    return StepFigures(
        step_accuracy=sum(hits) / len(hits),
        wrong_answers=sum(wrong) / len(wrong) if wrong else None,
        right_answers=sum(right) / len(right) if right else None,
        answers=len(scored),
        steps=len(hits),
    )


def rendered_steps(
    renderer: Renderer, reading: StepReading, record: LabelledSteps, where: str
) -> Rendered:
    """As the reward server reads it, with a place for each label. Raises DataError."""
    try:
        conversation = record.answered(reading)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error
    return render(renderer, conversation, where)


def scored_steps(
    model: OneModel,
    records: Sequence[PlacedSteps],
    batch_size: int,
    bad: BadLines | None = None,
) -> list[ScoredSteps]:
    """Every record with its scores; `bad` may count, and leave out, unreadable records.

    Raises ModelError for a model of whole answers, and DataError for a record that the model cannot
    read, or if no record is left.
    """
    if model.steps is None:
        raise ModelError("the reward model scores whole answers, not their steps")
    bad = bad or BadLines()
    kept: list[tuple[Rendered, LabelledSteps]] = []
    for where, record in records:
        with bad.tried():
            rendered = rendered_steps(model.renderer, model.steps, record, where)
            limit = model.model.context_limit
            if limit is not None and len(rendered.ids) > limit:
                reason = f"{len(rendered.ids)} tokens, the reward model reads {limit}"
                raise DataError(f"{where}: {reason}")
            kept.append((rendered, record))
    if not kept:
        raise DataError(f"{records[0][0]}: no record is left, {bad.count} bad lines were skipped")
    scores = model.step_scores([rendered for rendered, _ in kept], batch_size)
    return [
        ScoredSteps(found, record.labels) for found, (_, record) in zip(scores, kept, strict=True)
    ]
