"""Formats in which each record compares two answers."""

from __future__ import annotations

from collections.abc import Iterator

from trainers.base.data import Message
from trainers.base.lines import BadLineError, printable
from trainers.base.messages import answer_messages, chat_messages, prompt_messages
from trainers.preferences.readers.fields import (
    Values,
    by_dimension,
    optional_number,
    optional_text,
    required,
    text,
)
from trainers.preferences.readers.options import Reader, ReadOptions
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

    Conversations that part before their last answer are dropped and counted: their later
    answers belong to different prompts. Raises BadLineError if either does not end with an
    answer, or if they have nothing in common.
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


def _is_pair(values: Values) -> bool:
    return "chosen" in values and "rejected" in values


def _verdicts(values: Values) -> dict[str, int]:
    verdicts = by_dimension(values, "preferences")
    for name, verdict in verdicts.items():
        if verdict not in (-1, 0, 1):
            raise BadLineError(f"preferences.{printable(name)}: -1, 0 or 1 is expected")
    return {name: int(verdict) for name, verdict in verdicts.items()}


class Canonical(Reader):
    summary = "prompt, chosen, rejected (texts or messages), margin?, subset?, preferences?"

    def matches(self, values: Values) -> bool:
        return _is_pair(values) and "prompt" in values

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pairwise]:
        yield Pairwise(
            prompt_messages(required(values, "prompt"), "prompt"),
            answer_messages(required(values, "chosen"), "chosen"),
            answer_messages(required(values, "rejected"), "rejected"),
            optional_number(values, "margin"),
            optional_text(values, "subset"),
            _verdicts(values),
        )


class RewardBench(Canonical):
    summary = "RewardBench 1: prompt, chosen, rejected, subset"

    def matches(self, values: Values) -> bool:
        return super().matches(values) and isinstance(values.get("subset"), str)


class ImplicitPrompt(Reader):
    summary = "chosen and rejected are whole conversations, score_chosen?, score_rejected?"

    def matches(self, values: Values) -> bool:
        return _is_pair(values) and all(
            _starts_with_prompt(values[key]) for key in ("chosen", "rejected")
        )

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pairwise]:
        chosen = chat_messages(required(values, "chosen"), "chosen")
        rejected = chat_messages(required(values, "rejected"), "rejected")
        margin = optional_number(values, "margin")
        gap = _score_gap(values)
        if gap == 0:
            tally.drop("ties")
        else:
            margin = gap if margin is None else margin
            yield from split_prompt(chosen, rejected, tally, margin=margin)


def _score_gap(values: Values) -> float | None:
    """What UltraFeedback's binarised form says of both answers, if it does."""
    chosen = optional_number(values, "score_chosen")
    rejected = optional_number(values, "score_rejected")
    return None if chosen is None or rejected is None else chosen - rejected


class Rewrite(Reader):
    summary = "prompt (or messages), answer, rewrite; the rewrite is preferred"

    def matches(self, values: Values) -> bool:
        return "rewrite" in values

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pairwise]:
        key = "messages" if "prompt" not in values else "prompt"
        yield Pairwise(
            prompt_messages(required(values, key), key),
            answer_messages(required(values, "rewrite"), "rewrite"),
            answer_messages(required(values, "answer"), "answer"),
            optional_number(values, "margin"),
        )


class SixSteps(Reader):
    summary = (
        "prompt, first, second, preference: a step of the six-step scale, first against second"
    )

    def matches(self, values: Values) -> bool:
        return "preference" in values and "first" in values and "second" in values

    def read(self, values: Values, tally: Tally, options: ReadOptions) -> Iterator[Pairwise]:
        prompt = prompt_messages(required(values, "prompt"), "prompt")
        first = answer_messages(required(values, "first"), "first")
        second = answer_messages(required(values, "second"), "second")
        margin = margin_of_step(text(values, "preference"), options.step_margins)
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
