"""Fields of a raw record, checked; each error names the key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from trainers.base.data import Message
from trainers.base.lines import BadLineError, printable
from trainers.base.messages import answer_messages, prompt_messages

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
    """A finite number; a bool does not count as one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadLineError(f"{name}: a number is expected")
    try:
        converted = float(value)
    except OverflowError as error:
        raise BadLineError(f"{name}: a finite number is expected") from error
    if not math.isfinite(converted):
        raise BadLineError(f"{name}: a finite number is expected")
    return converted


def optional_number(values: Values, key: str) -> float | None:
    value = values.get(key)
    return None if value is None else number(value, key)


def optional_text(values: Values, key: str) -> str | None:
    value = values.get(key)
    return value if isinstance(value, str) else None


def prompt(values: Values, key: str = "prompt") -> list[Message]:
    """The prompt under `key`; BadLineError names the faulty place in it."""
    return prompt_messages(required(values, key), key)


def answer(values: Values, key: str = "answer") -> list[Message]:
    """The answer under `key`; BadLineError names the faulty place in it."""
    return answer_messages(required(values, key), key)


def references(values: Values) -> tuple[str, ...]:
    """The model answers under `reference`: one text, or a list of them, or none."""
    value = values.get("reference")
    if value is None:
        return ()
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(item, str) for item in texts):
        raise BadLineError("reference: a text or a list of texts is expected")
    return tuple(texts)


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
