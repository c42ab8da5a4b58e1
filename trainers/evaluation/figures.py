"""The figures of one evaluation: as JSON, as a flat table, and as a page in Markdown."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from trainers.base.card import figure_table
from trainers.base.files import write_text
from trainers.evaluation.accuracy import GapShare, Share
from trainers.evaluation.calibration import Calibration
from trainers.evaluation.reward_bench import RewardBench
from trainers.evaluation.reward_bench_2 import RewardBench2

WIDE_GAP = 1.0
"""Pairs at least this far apart are also reported on their own: there, a mistake matters most."""


@dataclass(frozen=True)
class Figures:
    """Figures that were not asked for are None or empty."""

    accuracy: float | None = None
    accuracy_wide_gap: float | None = None
    """On pairs whose true gap is known and at least 1."""
    pairs: int = 0
    reward_mean: float | None = None
    """Over both answers of all pairs."""
    reward_std: float | None = None
    by_gap: Sequence[GapShare] = ()
    by_section: Mapping[str, Share] = field(default_factory=dict)
    calibration: Calibration | None = None
    reward_bench: RewardBench | None = None
    reward_bench_2: RewardBench2 | None = None
    best_of_n: Mapping[int, float] = field(default_factory=dict)
    """Mean gold reward of the chosen answer, for each n."""
    best_of_n_own: Mapping[int, float] = field(default_factory=dict)
    """Mean reward of the chosen answer by the reward model itself. If it rises while gold falls,
    the model is being over-optimised."""
    best_of_n_oracle: Mapping[int, float] = field(default_factory=dict)
    """Mean gold reward if gold itself chose."""
    prompts: int = 0
    samples: int = 0
    """Answers drawn for each prompt."""
    cut: int = 0
    """Conversations whose prompt lost its start."""

    def table(self) -> dict[str, float]:
        """The figures under readable names, without the curves' details."""
        found: dict[str, float | None] = {
            "reward model accuracy on gold pairs": self.accuracy,
            f"accuracy where the gold gap is at least {WIDE_GAP:g}": self.accuracy_wide_gap,
            "gold pairs": self.pairs or None,
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
        found |= {f"gold reward, best of {n}": value for n, value in self.best_of_n.items()}
        found["held-out prompts"] = self.prompts or None
        found["answers drawn per prompt"] = self.samples or None
        found["conversations cut"] = self.cut or None
        return {name: value for name, value in found.items() if value is not None}

    def write(self, path: Path) -> None:
        """Write JSON to `path` and the page beside it; RunError if the disk is full."""
        write_text(path, json.dumps(asdict(self), indent=2) + "\n")
        write_text(path.with_suffix(".md"), self.page())

    def page(self) -> str:
        """All figures as Markdown tables."""
        lines = ["# Evaluation", "", *figure_table(self.table())]
        if self.by_gap:
            rows = [[_interval(p.low, p.high), p.accuracy, p.pairs] for p in self.by_gap]
            lines += _section("Accuracy by gold gap", ["gap", "accuracy", "pairs"], rows)
        if self.by_section:
            rows = [[name, part.accuracy, part.pairs] for name, part in self.by_section.items()]
            lines += _section("Accuracy by section", ["section", "accuracy", "pairs"], rows)
        if self.calibration is not None:
            rows = [
                [_interval(p.low, p.high), p.predicted, p.observed, p.pairs]
                for p in self.calibration.bins
            ]
            heads = ["claimed", "mean claim", "observed", "pairs"]
            lines += _section("Calibration", heads, rows)
        if self.best_of_n:
            rows = [
                [n, gold, self.best_of_n_own[n], self.best_of_n_oracle[n]]
                for n, gold in self.best_of_n.items()
            ]
            lines += _section("Best of n", ["n", "gold", "own reward", "gold if gold chose"], rows)
        for title, bench in (
            ("RewardBench", self.reward_bench),
            ("RewardBench 2", self.reward_bench_2),
        ):
            if bench is not None:
                rows = [[name, value] for name, value in bench.subsets.items()]
                lines += _section(f"{title} by subset", ["subset", "score"], rows)
                lines += [f"Missing: {', '.join(bench.missing)}", ""] if bench.missing else []
        return "\n".join(lines) + "\n"


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
    texts = [f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells]
    return f"| {' | '.join(texts)} |"
