"""The pictures of the page. One function a picture; each draws from `figures.json` alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from real_study.layout import TUNED
from trainers.base.plots import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    best_of_n_axis,
    write_pictures,
)

PURPLE = "#7d4bb3"
LABEL_GAP = 0.045
"""Of the axis: between the middles of two labels."""
COLOURS = {
    "reward model": BLUE,
    "mean log-probability": ORANGE,
    "weak reward model": RED,
    "longest": PURPLE,
    "random": GREY,
    "oracle": GREEN,
}
CAPTIONS = {
    "rows": "Accuracy beside greedy decoding of the fine-tuned policy, with paired 95 % "
    "intervals. What crosses the line is not decided.",
    "curves": "Accuracy of the best of n by each way to choose, from the same pools; the band is "
    "the reward model's 95 % interval. Dotted: policies that answer once, greedily.",
    "partial": "Correlation, within prompts, of the reward of an answer's beginning with that of "
    "the whole answer, with 95 % intervals.",
    "over-optimisation": "The same pools, chosen by the reward model and by one that saw few "
    "labels. Left: what is true. Right: the model's own reward, each scaled to its range.",
}
Figures = Mapping[str, Any]


def _rows(figures: Figures, figure: Figure) -> None:
    rows = figures["rows"]
    names = [name for name in rows if name != "sft, greedy"]
    figure.set_size_inches(7.6, 0.24 * len(names) + 0.9)
    axes = figure.subplots()
    for place, name in enumerate(reversed(names)):
        found, decided = rows[name]["difference"], rows[name]["decided"]
        colour = GREY if not decided else GREEN if found["value"] > 0 else RED
        axes.plot([found["low"], found["high"]], [place, place], color=colour, linewidth=2)
        axes.plot(found["value"], place, "o", color=colour, markersize=5)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(names)), list(reversed(names)), fontsize=8)
    axes.set(xlabel="accuracy beside greedy decoding")
    axes.grid(visible=False, axis="y")


def _curves(figures: Figures, figure: Figure) -> None:
    figure.set_size_inches(7.2, 4.6)
    axes = figure.subplots()
    for name, colour in COLOURS.items():
        _line(axes, figures["curves"][name], colour, name, band=name == "reward model")
    axes.set(ylabel="accuracy on held-out prompts")
    _greedy_lines(axes, figures)
    axes.legend(loc="upper left", fontsize=8)


def _greedy_lines(axes: Axes, figures: Figures) -> None:
    """A line for each policy's greedy answers, with its name beside the picture."""
    rows = figures["rows"]
    tuned = [name for name in TUNED if f"{name}, greedy" in rows]
    styles = {"sft": (GREY, "--"), **dict.fromkeys(tuned, ("black", ":"))}
    values = {name: rows[f"{name}, greedy"]["accuracy"]["value"] for name in styles}
    low, high = axes.get_ylim()
    for name, place in apart(values, LABEL_GAP * (high - low)).items():
        colour, style = styles[name]
        axes.axhline(values[name], color=colour, linestyle=style, linewidth=1)
        axes.annotate(
            f"{name}, greedy", (1.0, place), (4, 0), fontsize=8, va="center",
            xycoords=("axes fraction", "data"), textcoords="offset points",
        )  # fmt: skip


def apart(values: Mapping[str, float], gap: float) -> dict[str, float]:
    """Places for labels, each at its value or above, no two nearer than `gap`."""
    places: dict[str, float] = {}
    least = -math.inf
    for name in sorted(values, key=lambda one: values[one]):
        places[name] = max(values[name], least)
        least = places[name] + gap
    return places


def _partial(figures: Figures, figure: Figure) -> None:
    axes = figure.subplots()
    known = [row for row in figures["partial"] if row["rho"] is not None]
    shares = [row["share"] for row in known]
    values = [row["rho"]["value"] for row in known]
    errors = [
        [row["rho"]["value"] - row["rho"]["low"] for row in known],
        [row["rho"]["high"] - row["rho"]["value"] for row in known],
    ]
    axes.errorbar(shares, values, yerr=errors, color=BLUE, marker="o", capsize=3)
    axes.set(xlim=(0, 1), ylim=(min([0.0, *values]) - 0.1, 1.05))
    axes.set(xlabel="first share of the answer's tokens", ylabel="rho")


def _over_optimisation(figures: Figures, figure: Figure) -> None:
    figure.set_size_inches(8.4, 3.6)
    left, right = figure.subplots(1, 2)
    for name, found in figures["over-optimisation"].items():
        _line(left, found["gold"], COLOURS[name], name, band=True)
        _line(right, _scaled(found["own"]), COLOURS[name], name, band=False)
    left.set(ylabel="accuracy", title="What is true")
    right.set(ylabel="its own reward, 0 to 1", title="What the model says")
    left.legend(loc="best", fontsize=8)


def _scaled(curve: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    """Rewards of different models have no unit in common."""
    values = [row["value"] for row in curve]
    low, high = min(values), max(values)
    return [{**row, "value": (row["value"] - low) / (high - low or 1.0)} for row in curve]


def _line(
    axes: Axes, curve: Sequence[Mapping[str, float]], colour: str, text: str, *, band: bool
) -> None:
    sizes = [row["n"] for row in curve]
    axes.plot(sizes, [row["value"] for row in curve], "o-", color=colour, markersize=4, label=text)
    if band:
        lows, highs = [row["low"] for row in curve], [row["high"] for row in curve]
        axes.fill_between(sizes, lows, highs, color=colour, alpha=0.15, linewidth=0)
    best_of_n_axis(axes, sizes)


def draw_pictures(figures: Figures, folder: Path) -> list[str]:
    """Draw every picture into `folder`; the file names."""
    pictures: dict[str, Callable[[Figures, Figure], None]] = {
        "rows": _rows,
        "curves": _curves,
        "partial": _partial,
        "over-optimisation": _over_optimisation,
    }
    return write_pictures({name: partial(draw, figures) for name, draw in pictures.items()}, folder)
