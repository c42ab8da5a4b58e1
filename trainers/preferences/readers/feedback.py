"""Judgements of one answer: thumbs, and a label for each step of a solution."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trainers.base.data import Message
from trainers.base.lines import BadLineError
from trainers.preferences.readers import fields
from trainers.preferences.readers.fields import Values
from trainers.preferences.readers.options import FormatReader, ReadOptions
from trainers.preferences.records import Pointwise
from trainers.preferences.tally import Tally

_WORDS = {"true": True, "1": True, "false": False, "0": False}
JOINED = "stepwise labels, joined to one for each answer"


def _thumb(value: Any) -> bool | None:
    """Up or down; None for what is neither."""
    if isinstance(value, str):
        return _WORDS.get(value.strip().lower())
    if isinstance(value, bool | int | float) and value in (0, 1):
        return bool(value)
    return None


class ThumbsReader(FormatReader):
    """prompt, completion (or answer), label: true or false (TRL's form for KTO)."""

    def matches(self, values: Values) -> bool:
        return (
            fields.prompt_key(values) in values
            and fields.answer_key(values) in values
            and _thumb(values.get("label")) is not None
        )

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pointwise]:
        """Up is score 1, down 0; pairs come from prompts that have both."""
        prompt = fields.prompt(values, fields.prompt_key(values))
        answer = fields.answer(values, fields.answer_key(values))
        label = _thumb(fields.required(values, "label"))
        if label is None:
            raise BadLineError("label: true or false is expected")
        yield Pointwise(prompt, answer, float(label))


class StepwiseReader(FormatReader):
    """prompt, completions (the steps of one answer), labels: true or false for each step (TRL's
    form for process reward models)."""

    keys = ("prompt", "completions", "labels")

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pointwise]:
        """The whole answer has score 1 if every step is right, else 0: no form here has a label for
        each step."""
        steps = fields.items(values, "completions")
        if not all(isinstance(step, str) for step in steps):
            raise BadLineError("completions: the texts of an answer's steps are expected")
        labels = fields.of_equal_length(values, "labels", len(steps), "completions")
        thumbs = [_thumb(label) for label in labels]
        if None in thumbs:
            raise BadLineError(f"labels.{thumbs.index(None)}: true or false is expected")
        answer = fields.listed_answer(values, "completions", "\n".join(steps), "completions")
        prompt: list[Message] = fields.prompt(values)
        tally.note(JOINED)
        yield Pointwise(prompt, answer, float(all(thumbs)))
