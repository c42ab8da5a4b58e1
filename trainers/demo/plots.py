"""The pictures of a demo report. One function a picture; each writes one SVG and returns its name.

Lines of several seeds share a colour: their mean is drawn strong, the spread as a band.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import exp, log
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainers.demo.outcome import Figures, gold_at

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


def best_of_n_kl(n: int) -> float:
    """ln n - (n - 1) / n nats: an upper bound on the KL of best-of-n from what it chooses among,
    and close to it where answers seldom repeat (Beirami et al. 2024, arXiv:2401.01879)."""
    return log(n) - (n - 1) / n


def _accuracy(seeds: Sequence[Figures], figure: Figure) -> None:
    axes = figure.subplots()
    rows = [quality["by_gap"] for quality in _each(seeds, "reward-quality")]
    starts = [row["low"] for row in rows[0]]
    labels = [f"{a:g} to {b:g}" for a, b in itertools.pairwise(starts)]
    labels.append(f"from {starts[-1]:g}")
    means, spreads = _over([[row["accuracy"] for row in one] for one in rows])
    axes.bar(labels, means, yerr=spreads if len(seeds) > 1 else None, color=BLUE, capsize=3)
    # With labels drawn from sigmoid(gap), a label itself is right this often.
    ceiling = [1 / (1 + exp(-(a + b) / 2)) for a, b in zip(starts, [*starts[1:], 4], strict=True)]
    axes.plot(labels, ceiling, "o--", color=GREY, label="a training label (middle of the range)")
    axes.set(ylim=(0.4, 1.12), xlabel="gold gap of the pair", ylabel="accuracy")
    axes.set_title("How often the reward model orders a pair rightly")
    axes.legend(loc="upper left")


def _calibration(seeds: Sequence[Figures], figure: Figure) -> None:
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], "--", color=GREY, label="perfect")
    for index, quality in enumerate(_each(seeds, "reward-quality")):
        rows = quality["calibration"]
        axes.plot(
            [row["predicted"] for row in rows], [row["true"] for row in rows], "o-", color=BLUE,
            alpha=1.0 if len(seeds) == 1 else 0.6, label="reward model" if index == 0 else None,
        )  # fmt: skip
    axes.set(xlabel="probability of preference, by the reward model", ylabel="by the gold reward")
    axes.set_title("Calibration of the reward model")
    axes.legend()


def _best_of_n(seeds: Sequence[Figures], figure: Figure) -> None:
    axes = figure.subplots()
    curves = _curves(seeds, "reward-quality")
    _curve(axes, curves, "oracle", GREY, "best by gold")
    _curve(axes, curves, "gold", BLUE, "best by the reward model")
    for name, colour, text in (("judge-dpo", ORANGE, "DPO"), ("judge-ppo", GREEN, "PPO")):
        value = fmean(judged["gold"] for judged in _each(seeds, name))
        axes.axhline(value, color=colour, linestyle=":", label=f"{text}, one answer")
    axes.set(xlabel="n", ylabel="gold reward")
    axes.set_title("Best of n, and policies that answer once")
    axes.legend(loc="lower right")


def _gold_by_kl(seeds: Sequence[Figures], figure: Figure) -> None:
    axes = figure.subplots()
    curves = _curves(seeds, "reward-quality")
    sizes = [int(row["n"]) for row in curves[0]]
    golds = [fmean(gold_at(curve, n) for curve in curves) for n in sizes]
    axes.plot([best_of_n_kl(n) for n in sizes], golds, "o-", color=BLUE, label="best of n")
    for n, gold in zip(sizes, golds, strict=True):
        axes.annotate(f"{n}", (best_of_n_kl(n), gold), (4, -11), textcoords="offset points")
    for index, runs in enumerate(_each(seeds, "ppo-history")):
        axes.plot(
            [row["kl to reference"] for row in runs], [row["gold"] for row in runs], "-",
            color=GREEN, alpha=0.4, label="PPO, by iteration" if index == 0 else None,
        )  # fmt: skip
    marks = (("sft", GREY, "s", "SFT"), ("dpo", ORANGE, "D", "DPO"), ("ppo", GREEN, "*", "PPO"))
    for name, colour, mark, text in marks:
        ends = _each(seeds, f"judge-{name}")
        kls, golds = [one["kl"] for one in ends], [one["gold"] for one in ends]
        axes.plot(kls, golds, mark, color=colour, markersize=10, label=text)
    axes.set(xlabel="KL to the SFT policy, nats an answer", ylabel="gold reward")
    axes.set_title("What a nat buys")
    axes.legend(loc="lower right")


def _ppo_curves(seeds: Sequence[Figures], figure: Figure) -> None:
    figure.set_size_inches(9.6, 6.4)
    names = (
        ("reward", BLUE), ("gold", GREEN),
        ("kl to reference", ORANGE), ("kl to old policy", ORANGE),
        ("entropy", BLUE), ("clip fraction", RED), ("value loss", BLUE),
        ("explained variance", GREEN), ("length", BLUE), ("eos rate", RED),
        ("distinct-1", GREY), ("distinct-2", GREY),
    )  # fmt: skip
    grid = figure.subplots(3, 4, sharex=True)
    runs = _each(seeds, "ppo-history")
    length = min(map(len, runs))
    for axes, (name, colour) in zip(grid.flat, names, strict=True):
        axes.set_title(name, fontsize=9)
        if name in runs[0][0]:
            _mean(
                axes,
                range(1, length + 1),
                [[row[name] for row in run[:length]] for run in runs],
                colour,
            )
    for axes in grid[-1]:
        axes.set_xlabel("iteration")


def _weak_best_of_n(seeds: Sequence[Figures], figure: Figure) -> None:
    left, right = figure.subplots(1, 2)
    figure.set_size_inches(8.4, 3.6)
    for name, colour, text in (
        ("reward-quality", BLUE, "full reward model"),
        ("weak-reward-quality", RED, "weak reward model"),
    ):
        curves = _curves(seeds, name)
        _curve(left, curves, "gold", colour, text)
        _curve(right, [_scaled(curve) for curve in curves], "reward", colour, text)
    left.set(xlabel="n", ylabel="gold reward", title="What is true")
    right.set(xlabel="n", ylabel="its own score, 0 to 1", title="What the reward model says")
    left.legend(loc="upper left")


def _hacking(seeds: Sequence[Figures], figure: Figure) -> None:
    figure.set_size_inches(9.0, 3.0 * ((len(seeds) + 2) // 3) + 0.6)
    grid = figure.subplots((len(seeds) + 2) // 3, min(3, len(seeds)), squeeze=False, sharey=True)
    for index, (axes, run) in enumerate(
        zip(grid.flat, _each(seeds, "hacked-ppo-history"), strict=False)
    ):
        steps = [row["iteration"] for row in run]
        axes.plot(steps, [row["reward"] for row in run], color=RED, label="weak reward model")
        axes.plot(steps, [row["gold"] for row in run], color=GREEN, label="gold")
        alarm = next((row["iteration"] for row in run if row["alarms"]), None)
        if alarm is not None:
            axes.axvline(alarm, color=GREY, linestyle="--", label="first alarm")
        axes.set(title=f"run {index + 1}", xlabel="iteration")
    grid[0][0].set_ylabel("mean over the iteration's answers")
    grid[0][0].legend(fontsize=8)


def _scaled(curve: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """Scores of different reward models have no unit in common."""
    values = [row["reward"] for row in curve]
    low, high = min(values), max(values)
    return [{**row, "reward": (row["reward"] - low) / (high - low or 1.0)} for row in curve]


def _curve(
    axes: Axes, curves: Sequence[Sequence[dict[str, float]]], key: str, colour: str, text: str
) -> None:
    """A figure of the best of n by n."""
    sizes = [row["n"] for row in curves[0]]
    rows = [[row[key] for row in curve] for curve in curves]
    _mean(axes, sizes, rows, colour, marker="o", markersize=4, label=text)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{n:g}" for n in sizes])


def _mean(
    axes: Axes, x: Sequence[float], rows: Sequence[Sequence[float]], colour: str, **style: Any
) -> None:
    """A line through the mean over seeds; where there are several, a band of their deviation."""
    means, spreads = _over(rows)
    axes.plot(x, means, color=colour, **style)
    if len(rows) > 1:
        both = list(zip(means, spreads, strict=True))
        low, high = [mean - by for mean, by in both], [mean + by for mean, by in both]
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)


def _over(rows: Sequence[Sequence[float]]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each column; a spread of 0 for a single row."""
    columns = list(zip(*rows, strict=True))
    spreads = [stdev(column) if len(rows) > 1 else 0.0 for column in columns]
    return [fmean(column) for column in columns], spreads


def _curves(seeds: Sequence[Figures], name: str) -> list[list[dict[str, float]]]:
    return [quality["curve"] for quality in _each(seeds, name)]


def _each(seeds: Sequence[Figures], name: str) -> list[Any]:
    return [figures[name] for figures in seeds]


def draw_pictures(seeds: Sequence[Figures], folder: Path) -> list[str]:
    """Draw every picture that the figures allow into `folder`; the file names in order."""
    pictures = {
        "accuracy": _accuracy,
        "calibration": _calibration,
        "best-of-n": _best_of_n,
        "gold-by-kl": _gold_by_kl,
        "ppo-curves": _ppo_curves,
    }
    if "weak-reward-quality" in seeds[0]:
        pictures |= {"over-optimised-best-of-n": _weak_best_of_n, "reward-hacking": _hacking}
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=SIZE, layout="constrained")
            picture(seeds, figure)
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    return [f"{name}.svg" for name in pictures]
