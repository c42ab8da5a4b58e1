"""One picture of a report, whatever the report is about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = (4.6, 3.6)
"""Inches. So small that on a phone's screen the text is still as large as the page's."""


@dataclass(frozen=True)
class Picture:
    title: str
    caption: str
    draw: Callable[[Figure], str]
    """Returns the alternative text."""
