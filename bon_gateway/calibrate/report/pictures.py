"""The pictures of a calibration: what N and the hedges give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from bon_gateway.calibrate.figures.results import CalibrationResults
from bon_gateway.compare.figures.words import number, spread
from bon_gateway.compare.report.axes import legend_below, log_or_linear, point
from bon_gateway.compare.report.colours import SOFT, arm_colour
from bon_gateway.compare.report.picture import Picture
from bon_gateway.compare.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def pictures(results: CalibrationResults) -> Mapping[str, Picture]:
    """By name of the file."""
    sizes = [point.n for point in results.curve]
    rewards = [point.reward for point in results.curve]
    made = {
        "reward-by-n": Picture(
            "Reward of best-of-n",
            "What the reward model says itself: it rises with n whether or not it is right.",
            partial(_curve, "reward", sizes, rewards),
        )
    }
    golds = [point.gold for point in results.curve if point.gold is not None]
    if golds:
        made["gold-by-n"] = Picture(
            "Gold of best-of-n",
            "What is true. Where it falls while the reward rises, choosing finds what fools.",
            partial(_curve, "gold", sizes, golds),
        )
    what = "gold" if golds else "reward"
    made["by-tokens"] = Picture(
        "Strategies",
        "Up and to the left is better. The line is best-of-n.",
        partial(_strategies, what, results),
    )
    return made


def _curve(what: str, sizes: Sequence[int], values: Sequence[Interval], figure: Figure) -> str:
    axes = figure.subplots()
    axes.plot(sizes, [one.value for one in values], "o-", color=arm_colour(0), markersize=4)
    lows, highs = [one.low for one in values], [one.high for one in values]
    axes.fill_between(sizes, lows, highs, color=arm_colour(0), alpha=0.2, linewidth=0)
    axes.set(xlabel="n", ylabel=what)
    log_or_linear(axes, [*map(float, sizes)])
    told = "; ".join(f"{spread(one)} at {n}" for n, one in zip(sizes, values, strict=True))
    return f"{what.capitalize()} of best-of-n, with intervals: {told}."


def _strategies(what: str, results: CalibrationResults, figure: Figure) -> str:
    axes: Axes = figure.subplots()
    gold = what == "gold"
    line = [
        (p.tokens.value, found) for p in results.curve if (found := p.gold if gold else p.reward)
    ]
    axes.plot(
        [x for x, _ in line], [one.value for _, one in line], color=SOFT[0], label="best-of-n"
    )
    told, places = [], [x for x, _ in line]
    for place, row in enumerate(results.rows):
        up = row.gold if gold else row.reward
        if up is None or row.settings is None:
            continue
        places.append(row.tokens.value)
        point(axes, row.tokens.value, up, place, row.name)
        told.append(f"{row.name} {spread(up)} at {number(row.tokens.value)}")
    axes.set(xlabel="tokens a request", ylabel=what)
    log_or_linear(axes, places)
    legend_below(figure)
    return f"{what.capitalize()} against tokens a request, with intervals: {'; '.join(told)}."
