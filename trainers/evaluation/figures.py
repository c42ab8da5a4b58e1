"""The figures of one evaluation: as JSON, as a flat table, and as a page in Markdown."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from trainers.base.card import figure_table
from trainers.base.files import write_text
from trainers.base.intervals import Bounds, wilson
from trainers.evaluation.reward_bench import RewardBench
from trainers.evaluation.reward_bench_2 import RewardBench2
from trainers.rewards.accuracy import GapShare, Share
from trainers.rewards.calibration import Calibration
from trainers.rewards.quality import quality_pictures
from trainers.rewards.steps import StepFigures

WIDE_GAP = 1.0
"""Pairs at least this far apart are also reported on their own: there, a mistake matters most."""

INTERVAL = "95 % interval"


@dataclass(frozen=True)
class Figures:
    """Figures that were not asked for are None or empty."""

    accuracy: float | None = None
    accuracy_wide_gap: float | None = None
    """On pairs whose true gap is known and at least 1."""
    pairs: int = 0
    pairs_wide_gap: int = 0
    reward_mean: float | None = None
    """Over both answers of all pairs."""
    reward_std: float | None = None
    by_gap: Sequence[GapShare] = ()
    by_section: Mapping[str, Share] = field(default_factory=dict)
    calibration: Calibration | None = None
    reward_bench: RewardBench | None = None
    reward_bench_2: RewardBench2 | None = None
    steps: StepFigures | None = None
    judge: str = "gold"
    """Who says how good a chosen answer is: gold, which is true, or a reward model, which may
    err."""
    best_of_n: Mapping[int, float] = field(default_factory=dict)
    """Mean reward of the chosen answer by the judge, for each n."""
    best_of_n_interval: Mapping[int, Bounds] = field(default_factory=dict)
    """Of that mean, over prompts."""
    best_of_n_own: Mapping[int, float] = field(default_factory=dict)
    """Mean reward of the chosen answer by the reward model itself. If it rises while the judge's
    falls, the model is being over-optimised."""
    best_of_n_oracle: Mapping[int, float] = field(default_factory=dict)
    """The same if the judge itself chose."""
    prompts: int = 0
    samples: int = 0
    """Answers drawn for each prompt."""
    cut: int = 0
    """Conversations whose prompt lost its start."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Bad lines, and records with fields that are not read."""

    def table(self) -> dict[str, float]:
        """The figures under readable names, without the curves' details."""
        found: dict[str, float | None] = {
            "reward model accuracy": self.accuracy,
            f"accuracy where the margin is at least {WIDE_GAP:g}": self.accuracy_wide_gap,
            "pairs": self.pairs or None,
            "mean reward": self.reward_mean,
            "standard deviation of the reward": self.reward_std,
        }
        if self.calibration is not None:
            found["expected calibration error"] = self.calibration.ece
        if self.reward_bench is not None:
            prior = {"Prior Sets (half weight)": self.reward_bench.prior_sets}
            parts = {**self.reward_bench.sections, **prior}
            found |= _bench_table("RewardBench", self.reward_bench, parts)
        if self.reward_bench_2 is not None:
            parts = {**self.reward_bench_2.subsets}
            found |= _bench_table("RewardBench 2", self.reward_bench_2, parts)
        if self.steps is not None:
            found |= self.steps.table()
        judged = "gold reward" if self.judge == "gold" else f"reward by {self.judge}"
        found |= {f"{judged}, best of {n}": value for n, value in self.best_of_n.items()}
        found["held-out prompts"] = self.prompts or None
        found["answers drawn per prompt"] = self.samples or None
        found["conversations cut"] = self.cut or None
        found |= self.left_out
        return {name: value for name, value in found.items() if value is not None}

    def intervals(self) -> dict[str, Any]:
        """The 95 % interval of each accuracy, by Wilson's formula."""
        found: dict[str, Any] = {}
        if self.accuracy is not None:
            found["accuracy"] = wilson(self.accuracy, self.pairs)
        if self.accuracy_wide_gap is not None:
            found["accuracy_wide_gap"] = wilson(self.accuracy_wide_gap, self.pairs_wide_gap)
        found["by_gap"] = [wilson(part.accuracy, part.pairs) for part in self.by_gap]
        found["by_section"] = {
            name: wilson(part.accuracy, part.pairs) for name, part in self.by_section.items()
        }
        for title, bench in self._benches().items():
            found[title] = {
                name: wilson(share, bench.counts[name]) for name, share in bench.subsets.items()
            }
        return found

    def _benches(self) -> dict[str, RewardBench | RewardBench2]:
        both = {"RewardBench": self.reward_bench, "RewardBench 2": self.reward_bench_2}
        return {title: bench for title, bench in both.items() if bench is not None}

    def write(self, path: Path) -> None:
        """Write JSON to `path` and the page beside it; RunError if the disk is full."""
        values = {**asdict(self), "intervals": self.intervals()}
        write_text(path, json.dumps(values, indent=2) + "\n")
        folder = path.with_name(f"{path.stem}-plots")
        drawn = [f"![{name}]({folder.name}/{name}.svg)\n" for name in self._draw(folder)]
        write_text(path.with_suffix(".md"), "\n".join([self.page(), *drawn]))

    def _draw(self, folder: Path) -> list[str]:
        """Write the pictures that the figures allow; their names."""
        pictures = quality_pictures(self.by_gap, self.calibration)
        if len(self.best_of_n) > 1:
            curves = {self.judge: self.best_of_n, "own reward": self.best_of_n_own}
            pictures["best-of-n"] = partial(_draw_best_of_n, curves, self.best_of_n_interval)
        if pictures:
            from trainers.base.plots import write_pictures

            write_pictures(pictures, folder)
        return list(pictures)

    def page(self) -> str:
        """All figures as Markdown tables."""
        lines = ["# Evaluation", "", *figure_table(self.table())]
        known = self.intervals()
        if self.accuracy is not None:
            rows: list[list[object]] = [["all", self.accuracy, self.pairs, known["accuracy"]]]
            if self.accuracy_wide_gap is not None:
                wide = [f"a margin of at least {WIDE_GAP:g}", self.accuracy_wide_gap]
                rows.append([*wide, self.pairs_wide_gap, known["accuracy_wide_gap"]])
            lines += _section("Accuracy", ["pairs", "accuracy", "number", INTERVAL], rows)
        if self.by_gap:
            both = zip(self.by_gap, known["by_gap"], strict=True)
            rows = [[_interval(p.low, p.high), p.accuracy, p.pairs, ends] for p, ends in both]
            lines += _section("Accuracy by margin", ["margin", "accuracy", "pairs", INTERVAL], rows)
        if self.by_section:
            rows = [
                [name, part.accuracy, part.pairs, known["by_section"][name]]
                for name, part in self.by_section.items()
            ]
            heads = ["section", "accuracy", "pairs", INTERVAL]
            lines += _section("Accuracy by section", heads, rows)
        if self.calibration is not None:
            rows = [
                [_interval(p.low, p.high), p.predicted, p.observed, p.pairs]
                for p in self.calibration.bins
            ]
            heads = ["claimed", "mean claim", "observed", "pairs"]
            lines += _section("Calibration", heads, rows)
        if self.best_of_n:
            rows = [
                [n, value, self.best_of_n_interval.get(n, ""), self.best_of_n_own[n],
                 self.best_of_n_oracle[n]]
                for n, value in self.best_of_n.items()
            ]  # fmt: skip
            heads = ["n", self.judge, INTERVAL, "own reward", f"{self.judge}, if it chose itself"]
            lines += _section("Best of n", heads, rows)
        for title, bench in self._benches().items():
            rows = [[name, value, known[title][name]] for name, value in bench.subsets.items()]
            lines += _section(f"{title} by subset", ["subset", "score", INTERVAL], rows)
            lines += [f"Missing: {', '.join(bench.missing)}", ""] if bench.missing else []
        return "\n".join(lines) + "\n"


def _draw_best_of_n(
    curves: Mapping[str, Mapping[int, float]], intervals: Mapping[int, Bounds], figure: Any
) -> None:
    from trainers.base.plots import BLUE, GREY, best_of_n_axis

    judged, own = curves
    left, right = figure.subplots(1, 2)
    figure.set_size_inches(8.4, 3.6)
    for axes, name, colour in ((left, judged, BLUE), (right, own, GREY)):
        axes.plot(list(curves[name]), list(curves[name].values()), "o-", color=colour)
        axes.set(ylabel=name)
        best_of_n_axis(axes, list(curves[name]))
    ends = [intervals[n] for n in curves[judged] if n in intervals]
    if len(ends) == len(curves[judged]):
        lows, highs = zip(*ends, strict=True)
        left.fill_between(list(curves[judged]), lows, highs, color=BLUE, alpha=0.2, linewidth=0)


def _bench_table(
    title: str, bench: RewardBench | RewardBench2, parts: Mapping[str, float | None]
) -> dict[str, float | None]:
    return {
        title: bench.overall,
        **{f"{title}, {name}": value for name, value in parts.items()},
        f"{title}, subsets missing": len(bench.missing) or None,
    }


def _interval(low: float, high: float | None) -> str:
    return f"{low:g} and more" if high is None else f"{low:g} to {high:g}"


def _section(title: str, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    lines = ["", f"## {title}", "", _line(heads), _line(["---"] * len(heads))]
    return [*lines, *(_line(row) for row in rows), ""]


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(value: object) -> str:
    if isinstance(value, tuple):
        return " to ".join(f"{end:.3g}" for end in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
