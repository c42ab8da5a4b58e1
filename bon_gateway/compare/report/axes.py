"""Scales, ticks and legends whose labels do not collide, whatever the figures and the names are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bon_gateway.compare.report.colours import arm_colour, arm_marker
from bon_gateway.compare.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

LONGEST_NAME = 20
"""Characters of an arm's name in a picture."""
ENTRY, LETTER = 34.0, 6.0
"""Points that an entry of a legend takes beside its text, and for each letter of it."""
ROW_INCHES = 0.2


def point(
    axes: Axes, x: float, y: Interval, place: int, name: str, across: Interval | None = None
) -> None:
    """One entry of a legend: a point with the intervals of its height, and of its x if it has one,
    in the colour and with the marker of its ``place``."""
    axes.errorbar(
        x,
        y.value,
        xerr=None if across is None else [[x - across.low], [across.high - x]],
        yerr=[[y.value - y.low], [y.high - y.value]],
        fmt=arm_marker(place),
        color=arm_colour(place),
        capsize=2,
        markersize=5,
        label=shortened(name),
    )


def shortened(name: str) -> str:
    """Without its middle if it is long: names of arms often differ only at their ends."""
    half = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[: half - 1]}…{name[-half:]}"


def legend_below(figure: Figure) -> None:
    """One legend under the plot, on a figure that grows by its rows: nothing lies over the data,
    and no two names meet."""
    (axes,) = figure.axes
    handles, names = axes.get_legend_handles_labels()
    width, height = figure.get_size_inches()
    entry = ENTRY + LETTER * max(map(len, names), default=0)
    columns = max(1, min(len(names), int(72 * width / entry)))
    figure.set_size_inches(width, height + ROW_INCHES * math.ceil(len(names) / columns))
    figure.legend(handles, names, loc="outside lower center", ncols=columns)


def log_or_linear(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic x axis where the values span some factors, with ticks in plain digits."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = min(values, default=0.0), max(values, default=0.0)
    if low <= 0 or high < 3 * low:
        steps_of_thousand(axes.xaxis)
        axes.margins(x=0.1)
        return
    axes.set_xscale("log")
    axes.margins(x=0.06)
    few = math.log10(high / low) <= 1.6
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def steps_of_thousand(axis: Axis) -> None:
    """At most five ticks, in k and M."""
    from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(4))
    engineer = EngFormatter(sep="")
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:g}" if abs(value) < 1000 else engineer(value))
    )
