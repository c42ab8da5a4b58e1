"""The first picture: what N buys, between random choice, greedy decoding and the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bon_gateway.compare.figures.results import CurvePoint, Results
from bon_gateway.compare.figures.words import spread
from bon_gateway.compare.report.axes import legend_below, point
from bon_gateway.compare.report.colours import INK, SOFT, arm_colour
from bon_gateway.compare.statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ASIDE = 0.05
"""Arms of the same N stand beside each other, this far apart as a share of N."""


def quality_by_n(results: Results, figure: Figure) -> str:
    axes = figure.subplots()
    curve = results.curve
    if len(curve) > 1:
        _line(axes, curve, [point.quality for point in curve], "best-of-N", "-", INK[0])
        oracle = [point.oracle for point in curve if point.oracle is not None]
        random = [point.random for point in curve if point.random is not None]
        if len(oracle) == len(random) == len(curve):
            _line(axes, curve, oracle, "oracle", ":", SOFT[0])
            _line(axes, curve, random, "random choice", "--", SOFT[0])
    widest = max([arm.n for arm in results.arms] + [point.n for point in curve])
    for place, arm in enumerate(results.arms):
        quality = arm.quality[results.primary]
        if quality is not None and arm.greedy and widest > 1:
            axes.plot([1, widest], [quality.value] * 2, "-.", color=arm_colour(place), linewidth=1)
    told = _points(axes, results)
    axes.set_xscale("log", base=2)
    ticks = [2**power for power in range(widest.bit_length()) if 2**power <= widest]
    axes.set_xticks(ticks, [f"{tick}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(0.8, max(widest, 2) * 1.18)
    axes.set(xlabel="N, candidates a request", ylabel=f"quality: {results.primary}")
    legend_below(figure)
    return f"Quality by {results.primary} against N, with intervals: {'; '.join(told)}."


def _line(
    axes: Axes,
    curve: Sequence[CurvePoint],
    column: Sequence[Interval],
    label: str,
    style: str,
    colour: str,
) -> None:
    sizes = [point.n for point in curve]
    axes.plot(sizes, [one.value for one in column], style, color=colour, label=label, linewidth=1.4)
    lows, highs = [one.low for one in column], [one.high for one in column]
    axes.fill_between(sizes, lows, highs, color=colour, alpha=0.1, linewidth=0)


def _points(axes: Axes, results: Results) -> list[str]:
    """Each arm with its interval; those of one N are moved aside. Returns them in words."""
    told = []
    by_n: dict[int, list[str]] = {}
    for arm in results.arms:
        by_n.setdefault(arm.n, []).append(arm.name)
    for place, arm in enumerate(results.arms):
        quality = arm.quality[results.primary]
        if quality is None:
            continue
        row = by_n[arm.n]
        aside = ASIDE * (row.index(arm.name) - (len(row) - 1) / 2)
        point(axes, arm.n * (1 + aside), quality, place, arm.name)
        told.append(f"{arm.name} (N = {arm.n}) {spread(quality)}")
    for choice in results.choices:
        told.append(f"random choice of {choice.arm} {spread(choice.random)}")
        told.append(f"oracle of {choice.arm} {spread(choice.oracle)}")
    return told
