"""The pictures of a demo report. One function a picture; each writes one SVG and returns its name.

Lines of several seeds share a colour: their mean is drawn strong, the spread as a band.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import exp
from pathlib import Path
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bon_common.selection.calibration.over_optimisation import best_of_n_kl
from trainers.base.curves import curve_grid
from trainers.base.plots import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    accuracy_bars,
    best_of_n_axis,
    calibration_lines,
    mean_line,
    over_runs,
    write_pictures,
)
from trainers.demo.outcome import Figures, gold_at

PPO_CURVES = {
    "reward": BLUE, "gold": GREEN,
    "kl to reference": ORANGE, "kl to old policy": ORANGE,
    "entropy": BLUE, "clip fraction": RED, "value loss": BLUE,
    "explained variance": GREEN, "length": BLUE, "eos rate": RED,
    "distinct-1": GREY, "distinct-2": GREY,
}  # fmt: skip


def _accuracy(seeds: Sequence[Figures], figure: Figure) -> None:
    axes = figure.subplots()
    rows = [quality["by_gap"] for quality in _each(seeds, "reward-quality")]
    starts = [row["low"] for row in rows[0]]
    means, spreads = over_runs([[row["accuracy"] for row in one] for one in rows])
    ranges = list(zip(starts, [*starts[1:], None], strict=True))
    accuracy_bars(axes, ranges, means, spreads if len(seeds) > 1 else None)
    # With labels drawn from sigmoid(gap), a label itself is right this often.
    ceiling = [1 / (1 + exp(-(a + b) / 2)) for a, b in zip(starts, [*starts[1:], 4], strict=True)]
    axes.plot(ceiling, "o--", color=GREY, label="a training label (middle of the range)")
    axes.set(xlabel="gold gap of the pair")
    axes.legend(loc="upper left")


def _calibration(seeds: Sequence[Figures], figure: Figure) -> None:
    axes = figure.subplots()
    curves = [quality["calibration"] for quality in _each(seeds, "reward-quality")]
    calibration_lines(axes, [[(row["predicted"], row["true"]) for row in one] for one in curves])
    axes.set(ylabel="by the gold reward")


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
    runs = _each(seeds, "ppo-history")
    known = {name: colour for name, colour in PPO_CURVES.items() if name in runs[0][0]}
    curve_grid(figure, runs, known, "iteration")


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
    mean_line(axes, sizes, rows, colour, marker="o", markersize=4, label=text)
    best_of_n_axis(axes, sizes)


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
    return write_pictures({name: partial(draw, seeds) for name, draw in pictures.items()}, folder)
