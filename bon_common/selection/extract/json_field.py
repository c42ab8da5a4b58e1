"""A field of an answer that is JSON."""

from __future__ import annotations

from typing import Any

import orjson

from bon_common.selection.extract.bounds import MOST_SEARCHED
from bon_common.selection.extract.fences import unfenced
from bon_common.selection.extract.folded import folded
from bon_common.selection.extract.numbers import whole_number


def json_field(text: str, field: str) -> str | None:
    """The value at ``field``, a dotted path through objects, and through lists by place from 0.

    The text is JSON, in a Markdown fence or without one. Texts are compared as in ``folded``,
    numbers by their value, all else as JSON with sorted keys; ``"12"`` and ``12`` differ. A value
    that is null, and a text of more than ``MOST_SEARCHED`` characters, is no answer.
    """
    if len(text) > MOST_SEARCHED:
        return None
    try:
        value = orjson.loads(unfenced(text))
    except orjson.JSONDecodeError:
        return None
    for key in field.split("."):
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return None if value is None else _plain(value)


def canonical(value: Any) -> str | None:
    """JSON with sorted keys; None for a value that is nested too deeply to be written."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError:
        return None


def _plain(value: Any) -> str | None:
    if isinstance(value, str):
        words = folded(value)
        return None if words is None else f'"{words}"'
    written = canonical(value)
    if written is None or isinstance(value, bool) or not isinstance(value, int | float):
        return written
    return whole_number(written)
