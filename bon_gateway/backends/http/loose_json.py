"""JSON that is nearly right: NaN, infinity, what no float holds, half a surrogate pair, bytes that
are not UTF-8.

One such value in one of N choices should cost that choice and not all N. So an answer that the
strict parser refuses is read once more here, and what is wrong in it becomes a value that cannot
be written as JSON again: whoever takes the answer apart finds it where it stands.
"""

from __future__ import annotations

import json
import math
from typing import Any


class NotJson:
    """Stands where a value is that JSON does not have. No encoder takes it."""

    def __init__(self, text: str) -> None:
        pass


def _number(text: str) -> float | NotJson:
    value = float(text)
    return value if math.isfinite(value) else NotJson(text)


def _integer(text: str) -> int | float | NotJson:
    """As the strict parser has it: one that does not fit 64 bits is a float."""
    # A longer one takes Python very long to convert, if it converts it at all.
    number = int(text) if len(text) <= 20 else 1 << 64
    return number if -(1 << 63) <= number < 1 << 64 else _number(text)


def read_loosely(payload: bytes) -> Any:
    """Raises ValueError if ``payload`` is not even nearly JSON."""
    try:
        # What is no UTF-8 becomes a lone surrogate, which cannot be written either.
        return json.loads(
            payload.decode("utf-8", "surrogateescape"),
            parse_constant=NotJson,
            parse_float=_number,
            parse_int=_integer,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
