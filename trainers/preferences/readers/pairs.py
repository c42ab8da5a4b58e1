"""Formats in which each record compares two answers."""

from __future__ import annotations

from collections.abc import Iterator

from trainers.base.data import Message
from trainers.base.lines import BadLineError, printable
from trainers.base.messages import chat_messages
from trainers.preferences.readers import fields
from trainers.preferences.readers.fields import Values
from trainers.preferences.readers.options import FormatReader, ReadOptions
from trainers.preferences.records import Pairwise
from trainers.preferences.steps import margin_of_step
from trainers.preferences.tally import Tally

DIVERGES = "the two conversations differ before their last answers"


def split_prompt(
    chosen: list[Message],
    rejected: list[Message],
    tally: Tally,
    *,
    margin: float | None = None,
) -> Iterator[Pairwise]:
    """The pair in two whole conversations: the prompt is what both begin with.

    Conversations that part before their last answer are dropped and counted: their later answers
    belong to different prompts. Raises BadLineError if one of them does not end with an answer, or
    if they have nothing in common.
    """
    for name, messages in (("chosen", chosen), ("rejected", rejected)):
        if messages[-1]["role"] != "assistant":
            raise BadLineError(
                f"{name}: the last message must be the assistant's, it is the "
                f"{messages[-1]['role']}'s"
            )
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    # Answers may begin alike, or be equal; a prompt ends where the assistant is to speak.
    while shared and (
        shared == min(len(chosen), len(rejected)) or chosen[shared - 1]["role"] == "assistant"
    ):
        shared -= 1
    if not shared or chosen[shared - 1]["role"] not in ("user", "tool"):
        raise BadLineError("chosen and rejected do not begin with the same prompt")
    rest = (chosen[shared:], rejected[shared:])
    if any(message["role"] not in ("assistant", "tool") for part in rest for message in part):
        tally.drop(DIVERGES)
        return
    yield Pairwise(chosen[:shared], rest[0], rest[1], margin)


def _preferences(values: Values) -> dict[str, int]:
    found = fields.by_dimension(values, "preferences")
    for name, preference in found.items():
        if preference not in (-1, 0, 1):
            raise BadLineError(f"preferences.{printable(name)}: -1, 0 or 1 is expected")
    return {name: int(preference) for name, preference in found.items()}


class CanonicalReader(FormatReader):
    """prompt, chosen, rejected (texts or messages), margin?, subset?, preferences?."""

    keys = ("prompt", "chosen", "rejected")

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pairwise]:
        yield Pairwise(
            fields.prompt(values),
            fields.answer(values, "chosen"),
            fields.answer(values, "rejected"),
            fields.optional_number(values, "margin"),
            fields.optional_text(values, "subset"),
            _preferences(values),
        )


class RewardBenchReader(CanonicalReader):
    """RewardBench 1: prompt, chosen, rejected, subset."""

    def matches(self, values: Values) -> bool:
        return super().matches(values) and isinstance(values.get("subset"), str)


class ImplicitPromptReader(FormatReader):
    """chosen and rejected are whole conversations, score_chosen?, score_rejected?."""

    def matches(self, values: Values) -> bool:
        return all(_starts_with_prompt(values.get(key)) for key in ("chosen", "rejected"))

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pairwise]:
        chosen = chat_messages(fields.required(values, "chosen"), "chosen")
        rejected = chat_messages(fields.required(values, "rejected"), "rejected")
        margin = fields.optional_number(values, "margin")
        gap = _score_gap(values)
        if gap == 0:
            tally.drop("ties")
        else:
            margin = gap if margin is None else margin
            yield from split_prompt(chosen, rejected, tally, margin=margin)


def _score_gap(values: Values) -> float | None:
    """Difference of the scores in UltraFeedback's binarised form, if there are any."""
    chosen = fields.optional_number(values, "score_chosen")
    rejected = fields.optional_number(values, "score_rejected")
    return None if chosen is None or rejected is None else chosen - rejected


class RewriteReader(FormatReader):
    """prompt (or messages), answer, rewrite; the rewrite is preferred."""

    keys = ("rewrite",)

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pairwise]:
        yield Pairwise(
            fields.prompt(values, "prompt" if "prompt" in values else "messages"),
            fields.answer(values, "rewrite"),
            fields.answer(values),
            fields.optional_number(values, "margin"),
        )


class SixStepsReader(FormatReader):
    """prompt, first, second, preference: a step of the six-step scale, first against second."""

    keys = ("preference", "first", "second")

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pairwise]:
        prompt = fields.prompt(values)
        first, second = fields.answer(values, "first"), fields.answer(values, "second")
        margin = margin_of_step(fields.text(values, "preference"), options.step_margins)
        if margin == 0:
            tally.drop("ties")
        elif margin > 0:
            yield Pairwise(prompt, first, second, margin)
        else:
            yield Pairwise(prompt, second, first, -margin)


def _starts_with_prompt(value: object) -> bool:
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return False
    return value[0].get("role") in ("system", "developer", "user")
