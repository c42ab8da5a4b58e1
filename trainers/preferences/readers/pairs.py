"""Formats in which each record compares two answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from trainers.base.data import Message
from trainers.base.lines import BadLineError, printable
from trainers.preferences.readers import fields
from trainers.preferences.readers.context import SYSTEM_ROLES
from trainers.preferences.readers.fields import Values
from trainers.preferences.readers.gap import TIES, by_gap
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
    """prompt (or instruction + input?, question), chosen, rejected (texts or messages), margin?,
    subset?, preferences?, a score beside each answer?"""

    def matches(self, values: Values) -> bool:
        return fields.prompt_key(values) in values and all(
            key in values for key in ("chosen", "rejected")
        )

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pairwise]:
        pair = Pairwise(
            fields.prompt(values, fields.prompt_key(values)),
            fields.answer(values, "chosen"),
            fields.answer(values, "rejected"),
            fields.optional_number(values, "margin"),
            fields.optional_text(values, "subset"),
            _preferences(values),
        )
        yield from by_gap(values, [pair], tally)


class RewardBenchReader(CanonicalReader):
    """RewardBench 1: prompt, chosen, rejected, subset."""

    def matches(self, values: Values) -> bool:
        return super().matches(values) and isinstance(values.get("subset"), str)


class ImplicitPromptReader(FormatReader):
    """chosen and rejected are whole conversations, score_chosen?, score_rejected?."""

    def matches(self, values: Values) -> bool:
        return all(_starts_with_prompt(values.get(key)) for key in ("chosen", "rejected"))

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pairwise]:
        chosen = fields.conversation(values, "chosen")
        rejected = fields.conversation(values, "rejected")
        margin = fields.optional_number(values, "margin")
        pairs = split_prompt(chosen, rejected, tally, margin=margin)
        yield from by_gap(values, (beside(values, pair, tally) for pair in pairs), tally)


OTHER_PROMPT = "prompts that are not how both conversations begin, not read"


def beside(values: Values, pair: Pairwise, tally: Tally) -> Pairwise:
    """The pair with the system message of a prompt that stands beside its whole conversations.

    What else such a prompt says is what both conversations begin with; otherwise it is counted.
    """
    if values.get("prompt") is None:
        return pair
    is_text = isinstance(values["prompt"], str)
    asked = fields.prompt(values) if is_text else fields.conversation(values, "prompt")
    system = [message for message in asked if message["role"] in SYSTEM_ROLES]
    if pair.prompt[0]["role"] not in SYSTEM_ROLES:
        pair = replace(pair, prompt=[*system, *pair.prompt])
    if any(message not in pair.prompt for message in asked):
        tally.note(OTHER_PROMPT)
    return pair


class RewriteReader(FormatReader):
    """prompt (or messages), answer, rewrite; the rewrite is preferred."""

    keys = ("rewrite",)

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pairwise]:
        key = fields.prompt_key(values)
        yield Pairwise(
            fields.prompt(values, key if key in values else "messages"),
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
            tally.drop(TIES)
        elif margin > 0:
            yield Pairwise(prompt, first, second, margin)
        else:
            yield Pairwise(prompt, second, first, -margin)


def _starts_with_prompt(value: object) -> bool:
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return False
    return value[0].get("role") in (*SYSTEM_ROLES, "user")
