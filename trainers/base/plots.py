"""How the pictures of reports are drawn: their style, and what several of them have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainers.base.files import disk_errors

BLUE, ORANGE, GREEN, RED, GREY = "#1f6fb2", "#e07b00", "#2a8f4f", "#c0392b", "#777777"
SIZE = (6.4, 4.0)
STYLE: dict[Any, Any] = {  # its type names every parameter that there is
    "svg.hashsalt": "bon-train",  # the same figures give the same file
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}
Draw = Callable[[Figure], None]


def write_pictures(pictures: Mapping[str, Draw], folder: Path) -> list[str]:
    """Draw each into `folder` as NAME.svg; the file names. RunError if the disk is full."""
    with disk_errors(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        for name, draw in pictures.items():
            with mpl.rc_context(STYLE):
                figure = Figure(figsize=SIZE, layout="constrained")
                draw(figure)
                figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    return [f"{name}.svg" for name in pictures]


def mean_line(
    axes: Axes, x: Sequence[float], rows: Sequence[Sequence[float]], colour: str, **style: Any
) -> None:
    """A line through the mean over runs; where there are several, a band of their deviation."""
    means, spreads = over_runs(rows)
    axes.plot(x, means, color=colour, **style)
    if len(rows) > 1:
        both = list(zip(means, spreads, strict=True))
        low, high = [mean - by for mean, by in both], [mean + by for mean, by in both]
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def over_runs(rows: Sequence[Sequence[float]]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each column; a spread of 0 for a single row."""
    columns = list(zip(*rows, strict=True))
    spreads = [stdev(column) if len(rows) > 1 else 0.0 for column in columns]
    return [fmean(column) for column in columns], spreads


def best_of_n_axis(axes: Axes, sizes: Sequence[float]) -> None:
    """n in powers of two, each with its number."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{n:g}" for n in sizes])
    axes.set_xlabel("n")


def accuracy_bars(
    axes: Axes,
    ranges: Sequence[tuple[float, float | None]],
    shares: Sequence[float],
    errors: Any = None,
) -> None:
    """The accuracy for each range of the gap; the last may have no end. `errors` are what
    matplotlib takes."""
    labels = [f"from {low:g}" if high is None else f"{low:g} to {high:g}" for low, high in ranges]
    axes.bar(labels, shares, yerr=errors, color=BLUE, capsize=3)
    axes.set(ylim=(0.4, 1.12), ylabel="accuracy")
    axes.set_title("How often the reward model orders a pair rightly")


def calibration_lines(axes: Axes, runs: Sequence[Sequence[tuple[float, float]]]) -> None:
    """What the model claims against what is seen, for each run, beside the diagonal."""
    axes.plot([0, 1], [0, 1], "--", color=GREY, label="perfect")
    for index, points in enumerate(runs):
        axes.plot(
            [x for x, _ in points], [y for _, y in points], "o-", color=BLUE,
            alpha=1.0 if len(runs) == 1 else 0.6, label="reward model" if index == 0 else None,
        )  # fmt: skip
    axes.set(xlabel="probability of preference, by the reward model")
    axes.set_title("Calibration of the reward model")
    axes.legend()
