"""A table of text, for the page and for the terminal. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
Columns = dict[str, Callable[[T], str]]
"""By heading, the cell of a row's subject."""
NOTHING = "-"
"""In a cell that does not apply."""


@dataclass(frozen=True)
class Table:
    title: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    under: frozenset[int] = frozenset()
    """The rows that belong to the one above them."""


def table(title: str, note: str, subjects: Iterable[T], columns: Columns[T]) -> Table:
    rows = tuple(tuple(cell(one) for cell in columns.values()) for one in subjects)
    return Table(title, note, tuple(columns), rows)


def as_text(shown: Table) -> str:
    """Aligned columns."""
    lines = [shown.head, *shown.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(shown.head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
