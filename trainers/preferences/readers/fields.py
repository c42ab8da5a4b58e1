"""Fields of a raw record, checked; each error names the key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from trainers.base.data import Message
from trainers.base.lines import BadLineError, printable
from trainers.base.messages import answer_messages, chat_messages, prompt_messages
from trainers.base.metadata import METADATA, read_metadata
from trainers.base.prompt_text import is_transcript
from trainers.base.raw import Cell
from trainers.base.strict_json import unstorable
from trainers.preferences.readers.context import with_context, with_input
from trainers.preferences.readers.seen import Seen
from trainers.preferences.readers.transcript import transcript_prompt

Values = Mapping[str, Any]


def required(values: Values, key: str) -> Any:
    """The value; BadLineError if it is missing or null."""
    value = values.get(key)
    if value is None:
        raise BadLineError(f"{key}: missing")
    return value


def text(values: Values, key: str) -> str:
    value = required(values, key)
    if not isinstance(value, str):
        raise BadLineError(f"{key}: text is expected")
    return value


def items(values: Values, key: str) -> list[Any]:
    """A list of at least one entry."""
    value = required(values, key)
    if not isinstance(value, list):
        raise BadLineError(f"{key}: a list is expected")
    if not value:
        raise BadLineError(f"{key}: the list is empty")
    return value


def number(value: Any, name: str) -> float:
    """A finite number; a bool does not count as one, and text only if it is a table's cell."""
    if isinstance(value, Cell):
        value = _number_in(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadLineError(f"{name}: a number is expected")
    try:
        converted = float(value)
    except OverflowError as error:
        raise BadLineError(f"{name}: a finite number is expected") from error
    if not math.isfinite(converted):
        raise BadLineError(f"{name}: a finite number is expected")
    return converted


def _number_in(cell: Cell) -> int | float | None:
    if "_" in cell:  # Python's own numbers may have one between their digits
        return None
    try:
        return int(cell) if cell.strip().lstrip("+-").isdecimal() else float(cell)
    except ValueError:
        return None


def optional_number(values: Values, key: str) -> float | None:
    value = values.get(key)
    return None if value is None else number(value, key)


def optional_text(values: Values, key: str) -> str | None:
    value = values.get(key)
    return value if isinstance(value, str) else None


PROMPT_KEYS = ("prompt", "instruction", "question", "input")
"""Names of the prompt's column, the first of which is taken."""


def prompt_key(values: Values) -> str:
    """The name of the column that holds the prompt; "prompt" if there is none."""
    return next((key for key in PROMPT_KEYS if key in values), "prompt")


ANSWER_KEYS = ("answer", "completion", "response", "output")


def answer_key(values: Values) -> str:
    """The name of the column that holds the only answer; "completion" if there is none."""
    return next((key for key in ANSWER_KEYS if key in values), "completion")


def prompt(values: Values, key: str = "prompt") -> list[Message]:
    """The prompt under `key`, with the columns beside it that are part of it.

    A transcript of Human: and Assistant: turns becomes its turns. BadLineError names the faulty
    place.
    """
    value = required(values, key)
    if is_transcript(value):
        return with_context(values, prompt_messages(transcript_prompt(value, key), key))
    if key == "instruction" and isinstance(value, str):
        value = with_input(values, value)
    messages = prompt_messages(value, key)
    note(values, key, value, messages)
    return with_context(values, messages)


def answer(values: Values, key: str = "answer") -> list[Message]:
    """The answer under `key`; BadLineError names the faulty place in it."""
    value = required(values, key)
    if isinstance(value, str) and is_transcript(values.get("prompt")):
        value = value.strip()  # as in a whole transcript
    return listed_answer(values, key, value, key)


def listed_answer(values: Values, key: str, value: Any, name: str) -> list[Message]:
    """An answer out of `values`, called `name` in errors and `key` among the fields."""
    messages = answer_messages(value, name)
    note(values, key, value, messages)
    return messages


def conversation(values: Values, key: str) -> list[Message]:
    """The whole conversation under `key`, with the columns beside it that are part of it."""
    value = required(values, key)
    messages = chat_messages(value, key)
    note(values, key, value, messages)
    return with_context(values, messages)


def objects(values: Values, key: str) -> list[Values]:
    """The entries of a list of objects. What a reader takes of them counts as read."""
    found: list[Values] = []
    for index, entry in enumerate(items(values, key)):
        if not isinstance(entry, dict):
            raise BadLineError(f"{key}.{index}: an object is expected")
        found.append(part(values, entry, key))
    return found


def part(values: Values, entry: Mapping[str, Any], inside: str) -> Values:
    """An object inside a record, noted as the record's own keys are."""
    return values.part(entry, inside) if isinstance(values, Seen) else entry


def note(values: Values, key: str, value: Any, messages: list[Message]) -> None:
    if isinstance(values, Seen):
        values.note_messages(key, value, messages)


def references(values: Values) -> tuple[str, ...]:
    """The model answers under `reference`: one text, or a list of them, or none."""
    value = values.get("reference")
    if value is None:
        return ()
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(item, str) for item in texts):
        raise BadLineError("reference: a text or a list of texts is expected")
    reason = unstorable(texts)
    if reason is not None:
        raise BadLineError(f"reference: {reason}")
    return tuple(texts)


def metadata(values: Values) -> Mapping[str, Any]:
    """The object under `metadata`; anything else there counts as not read."""
    peek = values.peek if isinstance(values, Seen) else values.get
    found = read_metadata(peek(METADATA))
    if found:
        values.get(METADATA)  # now it counts as read
    return found


def by_dimension(values: Values, key: str, inside: str = "") -> dict[str, float]:
    """The numbers under `key` by the name of their dimension; empty if there are none.

    `inside` stands before the key in errors.
    """
    found = values.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BadLineError(f"{inside}{key}: a number for each dimension is expected")
    return {
        name: number(value, f"{inside}{key}.{printable(name)}") for name, value in found.items()
    }


def of_equal_length(values: Values, key: str, expected: int, other: str) -> list[Any]:
    """The list under `key`; BadLineError unless it has an entry for each of `other`."""
    found = items(values, key)
    if len(found) != expected:
        raise BadLineError(f"{key}: {len(found)} entries for {expected} {other}")
    return found
