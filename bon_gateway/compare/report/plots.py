"""The pictures of a report, one function for each. matplotlib (extra ``compare``) is imported only
to draw them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bon_gateway.compare.figures.results import Results

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY = "#1f6fb2", "#d97100", "#2a8f4f", "#777777"
COLOURS = (BLUE, ORANGE, GREEN, "#8e44ad", "#c0392b", "#00838f", "#6d4c41", "#5a6b00")
SIZE = (4.6, 3.4)
"""Inches. So small that on a phone's screen the text is still as large as the page's."""
STYLE: dict[Any, Any] = {  # its type names every parameter that there is
    "svg.hashsalt": "bon-gateway",  # the same figures give the same file
    "svg.fonttype": "none",
    "text.parse_math": False,  # names of arms may hold dollars
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": 8,
}
LEGEND_COLUMNS = 3
CAPTIONS = {
    "quality-by-cost": "Quality against cost of a request. The line joins the arms that no other"
    " beats in both. Bars are intervals.",
    "latency": "Share of requests answered within a time. Dashed: the slowest of N independent"
    " single answers.",
    "break-even": "Money paid after a number of requests, training included. Where a tuned"
    " policy crosses best-of-N at its matched N, it has paid back.",
    "throughput": "Requests a second that still meet the latency target.",
}

Picture = Callable[[Results, "Figure"], None]


def draw_all(results: Results, folder: Path) -> dict[str, str]:
    """Write each picture that the figures allow, as PNG and SVG. Returns the SVG texts by name, to
    be put into a page."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for name, picture in _pictures(results).items():
        with rc_context(STYLE):
            figure = Figure(figsize=SIZE, layout="constrained")
            picture(results, figure)
            figure.savefig(folder / f"{name}.png", dpi=160)
            drawn[name] = _svg(figure, folder / f"{name}.svg")
    return drawn


def _svg(figure: Figure, path: Path) -> str:
    out = StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    path.write_text(out.getvalue(), encoding="utf-8")
    return within_page(out.getvalue(), path.stem)


def within_page(svg: str, name: str) -> str:
    """The SVG without what only a file of its own needs, and with identifiers that no other picture
    on the page has."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r' (width|height)="[\d.]+pt"', "", body, count=2)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'="#', f'="#{name}-', body)
    return re.sub(r"url\(#", f"url(#{name}-", body)


def _pictures(results: Results) -> Mapping[str, Picture]:
    priced = [arm for arm in results.arms if arm.cost and arm.quality[results.primary]]
    made: dict[str, Picture] = {}
    if priced:
        made["quality-by-cost"] = _quality_by_cost
    if any(latency.curve for arm in results.arms for latency in arm.latency):
        made["latency"] = _latency
    if any(math.isfinite(tuned.break_even.value) for tuned in results.tuned):
        made["break-even"] = _break_even
    if any(arm.highest_rate is not None for arm in results.arms):
        made["throughput"] = _throughput
    return made


def _quality_by_cost(results: Results, figure: Figure) -> None:
    axes = figure.subplots()
    places = {}
    for arm in results.arms:
        quality = arm.quality[results.primary]
        if arm.cost is None or quality is None:
            continue
        places[arm.name] = (1000 * arm.cost.value, quality.value)
        errors = [[quality.value - quality.low], [quality.high - quality.value]]
        colour = BLUE if arm.training is None else ORANGE
        axes.errorbar(*places[arm.name], yerr=errors, fmt="o", color=colour, capsize=3)
        offset = (6, -11) if arm.training is None else (6, 5)
        axes.annotate(arm.name, places[arm.name], offset, textcoords="offset points", fontsize=8)
    front = [places[name] for name in results.pareto if name in places]
    axes.plot([x for x, _ in front], [y for _, y in front], "-", color=GREY, zorder=0)
    if min(x for x, _ in places.values()) > 0:
        axes.set_xscale("log")
        _plain_ticks(axes.xaxis)
    axes.margins(x=0.2)
    axes.set(xlabel=f"{results.currency} per 1000 requests", ylabel=f"quality: {results.primary}")


def _latency(results: Results, figure: Figure) -> None:
    lines = math.ceil(len(results.arms) / LEGEND_COLUMNS)
    figure.set_size_inches(SIZE[0], SIZE[1] + 0.2 * lines)
    axes = figure.subplots()
    phase = results.arms[0].latency[0].phase if results.arms[0].latency else ""
    for arm, colour in zip(results.arms, COLOURS * 8, strict=False):
        for latency in arm.latency:
            if latency.phase != phase or not latency.curve:
                continue
            times, shares = zip(*latency.curve, strict=True)
            axes.step(times, shares, where="post", color=colour, label=arm.name)
            shift = {v: float(q) for q, v in (latency.shift or {}).items() if math.isfinite(v)}
            axes.plot([*shift], [*shift.values()], "x--", color=colour, alpha=0.6)
    axes.set(xlabel=f"ms ({phase})", ylabel="share answered", ylim=(0, 1.02), xscale="log")
    _plain_ticks(axes.xaxis)
    figure.legend(loc="outside lower center", ncols=LEGEND_COLUMNS)


def _plain_ticks(axis: Axis) -> None:
    """Ticks at 1, 2 and 5 on a logarithmic axis, in plain digits, even if it spans few decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _break_even(results: Results, figure: Figure) -> None:
    """One plot below the other, each with its own scale: they may lie decades apart."""
    finite = [tuned for tuned in results.tuned if math.isfinite(tuned.break_even.value)]
    figure.set_size_inches(SIZE[0], 2.5 * len(finite) + 0.3)
    grid = figure.subplots(len(finite), 1, squeeze=False)
    for axes, tuned in zip(grid.flat, finite, strict=True):
        end = 2 * tuned.break_even.value or 1.0
        requests = [0.0, end]
        own = [tuned.training_money + q * tuned.tuned_cost.value for q in requests]
        axes.plot(requests, own, "-", color=ORANGE, label=tuned.arm)
        bon = [q * tuned.bon_cost.value for q in requests]
        axes.plot(requests, bon, "-", color=BLUE, label=f"best-of-{tuned.compared_n}")
        low, high = tuned.break_even.low, min(tuned.break_even.high, end)
        axes.axvspan(low, high, color=GREY, alpha=0.15, linewidth=0, label="interval")
        axes.set(ylabel=f"paid, {results.currency}", xlim=(0, end), ylim=(0, None))
        axes.legend(loc="upper left")
    grid.flat[-1].set_xlabel("requests")


def _throughput(results: Results, figure: Figure) -> None:
    axes = figure.subplots()
    known = [(arm.name, arm.highest_rate) for arm in results.arms if arm.highest_rate is not None]
    axes.barh([name for name, _ in known], [rate for _, rate in known], color=BLUE)
    axes.invert_yaxis()
    axes.set(xlabel="requests a second at the target")
