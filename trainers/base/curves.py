"""A grid of small pictures, one for each figure that a run has logged.

Each run draws one. Its texts and lines go straight into the figure: matplotlib's own axes, with
their ticks and layout, take ten times as long, and no run needs what else they can do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox, BboxTransform

from trainers.base.plots import over_runs

LEFT, BOTTOM, TITLE, GAP = 0.65, 0.5, 0.3, 0.12
"""Inches for the numbers at the left and below, for a title, and between columns."""
WIDE, HIGH = 1.63, 1.5
"""Inches of a small picture inside its frame."""
MARGIN = 0.05
"""The share of a picture that stays free around its line."""
GRID, FRAME = "#dddddd", "#333333"


@dataclass(frozen=True)
class _Range:
    """The values along one side of a picture."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> _Range:
        finite = [value for value in values if math.isfinite(value)] or [0.0]
        low, high = min(finite), max(finite)
        free = (high - low) * MARGIN or abs(low) * MARGIN or 1.0
        return cls(low - free, high + free)

    def ticks(self, *, whole: bool = False) -> list[float]:
        found = MaxNLocator(nbins=4, integer=whole).tick_values(self.low, self.high)
        return [float(tick) for tick in found if self.low <= tick <= self.high]


def curve_grid(
    figure: Figure,
    runs: Sequence[Sequence[Mapping[str, Any]]],
    names: Mapping[str, str],
    count: str,
    columns: int = 4,
) -> None:
    """A small picture of each figure by `count` (step or iteration), over the entries that have it.
    `names` has each figure's colour. Several runs are their mean and a band of their deviation."""
    across = min(columns, len(names))
    rows = -(-len(names) // columns)
    width, height = across * (LEFT + WIDE + GAP), rows * (TITLE + HIGH) + BOTTOM
    figure.set_layout_engine(None)
    figure.set_size_inches(width, height)
    for place, (name, colour) in enumerate(names.items()):
        row, column = divmod(place, columns)
        left = column * (LEFT + WIDE + GAP) + LEFT
        bottom = height - (row + 1) * (TITLE + HIGH)
        box = Bbox.from_bounds(left / width, bottom / height, WIDE / width, HIGH / height)
        having = [[entry for entry in run if name in entry] for run in runs]
        length = min(map(len, having))
        x = [float(entry[count]) for entry in having[0][:length]]
        means, spreads = over_runs([[entry[name] for entry in run[:length]] for run in having])
        band = spreads if len(runs) > 1 else None
        lowest = place >= len(names) - across  # in its column; the last row may be short
        _picture(figure, box, (x, means, band), colour, count if lowest else None)
        figure.text(
            box.x0 + box.width / 2, box.y1 + 0.06 / height, name, fontsize=9, ha="center"
        )  # fmt: skip


def _picture(
    figure: Figure,
    box: Bbox,
    line: tuple[list[float], list[float], list[float] | None],
    colour: str,
    count: str | None,
) -> None:
    """A line, and around it a band if there is one, in a frame with numbers; those below only if
    `count` says what they are."""
    x, means, spreads = line
    low = [mean - by for mean, by in zip(means, spreads or [0.0] * len(means), strict=True)]
    high = [mean + by for mean, by in zip(means, spreads or [0.0] * len(means), strict=True)]
    along, up = _Range.of(x), _Range.of([*low, *high])
    place = BboxTransform(Bbox([[along.low, up.low], [along.high, up.high]]), box)
    inside = place + figure.transSubfigure
    steps, levels = along.ticks(whole=True), up.ticks()
    grid = [[(step, up.low), (step, up.high)] for step in steps]
    grid += [[(along.low, level), (along.high, level)] for level in levels]
    frame = [[(along.low, up.high), (along.low, up.low), (along.high, up.low)]]
    for lines, shade, thick in ((grid, GRID, 0.6), (frame, FRAME, 0.8)):
        figure.add_artist(LineCollection(lines, colors=shade, linewidths=thick, transform=inside))
    if spreads is not None:
        around = [*zip(x, low, strict=True), *reversed([*zip(x, high, strict=True)])]
        figure.add_artist(Polygon(around, color=colour, alpha=0.2, lw=0, transform=inside))
    # A single point is no line.
    marker = "." if len(x) < 3 else ""
    figure.add_artist(Line2D(x, means, color=colour, marker=marker, transform=inside))
    width, height = figure.get_size_inches()
    for level in levels:
        at = place.transform((along.low, level))
        figure.text(
            at[0] - 0.05 / width, at[1], f"{level:g}", fontsize=8, ha="right", va="center"
        )  # fmt: skip
    if count is None:
        return
    for step in steps:
        at = place.transform((step, up.low))
        figure.text(at[0], at[1] - 0.05 / height, f"{step:g}", fontsize=8, ha="center", va="top")
    figure.text(
        box.x0 + box.width / 2, box.y0 - 0.22 / height, count, fontsize=10, ha="center", va="top"
    )  # fmt: skip
