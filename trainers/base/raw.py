"""A record as it stands in a file, before anything knows its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RawRecord:
    """One record as it stands in the file."""

    where: str
    """`file:line`; where records are no lines (parquet, a JSON array), their number stands for
    it."""
    values: Mapping[str, Any] | None
    """None if the line cannot be read."""
    reason: str = ""
    """Why it cannot be read."""


class Cell(str):
    """A cell of a table: text that may stand for a number, since CSV has no others."""

    __slots__ = ()
