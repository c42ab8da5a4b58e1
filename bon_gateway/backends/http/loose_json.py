"""JSON that is nearly right: NaN, infinity, numbers that no float holds, half a surrogate pair,
bytes that are not UTF-8.

One such value in one of N choices should cost that choice and not all N. So an answer that the
strict parser refuses is read once more here. Each wrong part becomes a value that cannot be written
as JSON again, and the code that takes the answer apart finds it in its place.
"""

from __future__ import annotations

import json
import math
from typing import Any


class NotJson:
    """Stands for a value that JSON does not have. No encoder takes it."""

    def __init__(self, text: str) -> None:
        pass


def _number(text: str) -> float | NotJson:
    value = float(text)
    return value if math.isfinite(value) else NotJson(text)


def _integer(text: str) -> int | float | NotJson:
    """Like the strict parser: an integer that does not fit 64 bits becomes a float."""
    # Converting a longer one takes Python very long, or fails.
    number = int(text) if len(text) <= 20 else 1 << 64
    return number if -(1 << 63) <= number < 1 << 64 else _number(text)


def read_loosely(payload: bytes) -> Any:
    """Raises ValueError if ``payload`` is not even nearly JSON."""
    try:
        # A byte that is not UTF-8 becomes a lone surrogate, which cannot be written either.
        return json.loads(
            payload.decode("utf-8", "surrogateescape"),
            parse_constant=NotJson,
            parse_float=_number,
            parse_int=_integer,
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None
