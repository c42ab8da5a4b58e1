"""The pictures of a report: one function for each, which draws it and returns its text for those
who do not see it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from bon_gateway.compare.figures.results import Arm, Results
from bon_gateway.compare.figures.words import number, spread
from bon_gateway.compare.report.axes import (
    legend_below,
    log_or_linear,
    shortened,
    steps_of_thousand,
)
from bon_gateway.compare.report.colours import SOFT, arm_colour, arm_marker
from bon_gateway.compare.report.picture import SIZE, Picture
from bon_gateway.compare.report.quality_by_n import quality_by_n

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def pictures(results: Results) -> Mapping[str, Picture]:
    """By name of the file, those that the figures allow, the most important first."""
    made: dict[str, Picture] = {}
    if any(arm.quality[results.primary] for arm in results.arms):
        made["quality-by-n"] = Picture(
            "Quality against N",
            "Each arm at its N. The line is best-of-N of the base policy; random choice and the"
            " oracle choose among the same candidates. Bars and bands are intervals of the means:"
            " where they overlap, the differences at the same prompts decide.",
            partial(quality_by_n, results),
        )
    if any(arm.cost and arm.quality[results.primary] for arm in results.arms):
        made["quality-by-cost"] = Picture(
            "Quality against cost",
            "The line joins the arms that no other beats in both. Bars are intervals.",
            partial(_quality_by_cost, results),
        )
    if any(latency.curve for arm in results.arms for latency in arm.latency):
        made["latency"] = Picture(
            "Latency",
            "Share of requests answered within a time. Crosses: the slowest of N independent"
            " single answers.",
            partial(_latency, results),
        )
    if any(one.break_even and math.isfinite(one.break_even.value) for one in results.tuned):
        made["break-even"] = Picture(
            "Break-even",
            "Money paid after a number of requests, training included. Where a tuned policy"
            " crosses best-of-N at its matched N, it has paid back. Grey: the interval.",
            partial(_break_even, results),
        )
    if any(arm.highest_rate is not None for arm in results.arms):
        made["throughput"] = Picture(
            "Throughput",
            "Requests a second that still meet the latency target.",
            partial(_throughput, results),
        )
    return made


def _quality_by_cost(results: Results, figure: Figure) -> str:
    axes = figure.subplots()
    places = {}
    for place, arm in enumerate(results.arms):
        quality = arm.quality[results.primary]
        if arm.cost is None or quality is None:
            continue
        places[arm.name] = (1000 * arm.cost.value, quality.value)
        axes.errorbar(
            *places[arm.name],
            yerr=[[quality.value - quality.low], [quality.high - quality.value]],
            fmt=arm_marker(place),
            color=arm_colour(place),
            capsize=3,
            label=shortened(arm.name),
        )
    front = [places[name] for name in results.pareto if name in places]
    axes.plot([x for x, _ in front], [y for _, y in front], "-", color=SOFT[0], zorder=0)
    axes.set(xlabel=f"{results.currency} per 1000 requests", ylabel=f"quality: {results.primary}")
    log_or_linear(axes, [x for x, _ in places.values()])
    legend_below(figure)
    told = [f"{name} {number(y)} for {number(x)}" for name, (x, y) in places.items()]
    return f"Quality against {results.currency} per 1000 requests: {'; '.join(told)}."


def _latency(results: Results, figure: Figure) -> str:
    axes = figure.subplots()
    phase = results.arms[0].latency[0].phase if results.arms[0].latency else ""
    every: list[float] = []
    told = []
    for place, arm in enumerate(results.arms):
        colour = arm_colour(place)
        for latency in arm.latency:
            if latency.phase != phase or not latency.curve:
                continue
            times, shares = zip(*latency.curve, strict=True)
            every += times
            axes.step(times, shares, where="post", color=colour, label=shortened(arm.name))
            shift = {v: float(q) for q, v in (latency.shift or {}).items() if math.isfinite(v)}
            axes.plot([*shift], [*shift.values()], "x--", color=colour, alpha=0.6)
            told.append(f"{arm.name} {number(latency.quantiles['0.5'].value)} ms")
    axes.set(xlabel=f"ms ({phase})", ylabel="share answered", ylim=(0, 1.02))
    log_or_linear(axes, every)
    legend_below(figure)
    return f"Share of requests answered within a time; medians: {'; '.join(told)}."


def _break_even(results: Results, figure: Figure) -> str:
    """One plot below the other, each with its own scale: they may lie decades apart."""
    finite = [
        (one, one.break_even)
        for one in results.tuned
        if one.break_even is not None and math.isfinite(one.break_even.value)
    ]
    figure.set_size_inches(SIZE[0], 2.9 * len(finite) + 0.3)
    grid = figure.subplots(len(finite), 1, squeeze=False)
    places = {arm.name: place for place, arm in enumerate(results.arms)}
    told = []
    for axes, (tuned, broken) in zip(grid.flat, finite, strict=True):
        end = 2 * broken.value or 1.0
        requests = [0.0, end]
        own = [tuned.training_money + q * tuned.tuned_cost.value for q in requests]
        axes.plot(requests, own, color=arm_colour(places[tuned.arm]), label=shortened(tuned.arm))
        bon = [q * tuned.bon_cost.value for q in requests]
        name = f"best-of-{tuned.compared_n}"
        axes.plot(requests, bon, "--", color=SOFT[0], label=name)
        low, high = broken.low, min(broken.high, end)
        axes.axvspan(low, high, color=SOFT[0], alpha=0.18, linewidth=0)
        axes.set(
            xlabel="requests", ylabel=f"paid, {results.currency}", xlim=(0, end), ylim=(0, None)
        )
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        steps_of_thousand(axes.xaxis)
        steps_of_thousand(axes.yaxis)
        told.append(f"{tuned.arm} against {name} after {spread(broken)} requests")
    return f"Money paid over requests; paid back: {'; '.join(told)}."


def _throughput(results: Results, figure: Figure) -> str:
    axes = figure.subplots()
    known: list[tuple[int, Arm, float]] = [
        (place, arm, arm.highest_rate)
        for place, arm in enumerate(results.arms)
        if arm.highest_rate is not None
    ]
    axes.barh(
        [shortened(arm.name) for _, arm, _ in known],
        [rate for _, _, rate in known],
        color=[arm_colour(place) for place, _, _ in known],
    )
    axes.invert_yaxis()
    axes.set(xlabel="requests a second at the target")
    told = [f"{arm.name} {number(rate)}" for _, arm, rate in known]
    return f"Requests a second at the target: {'; '.join(told)}."
