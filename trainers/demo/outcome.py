"""What a demo run measured: one seed's figures, how they are kept, and the goals they must meet."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers.demo.workers import Result

Figures = dict[str, Any]
"""One seed's: outcomes of its steps by name, and the histories of its PPO runs."""


@dataclass(frozen=True)
class Goal:
    """A claim of the documentation, checked in every run."""

    text: str
    value: float
    bound: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.value <= self.bound if self.at_most else self.value >= self.bound


def figures_of(results: Mapping[str, Result], prefix: str, folder: Path) -> Figures:
    """The outcomes of the steps whose name begins with `prefix`, without it."""
    figures: Figures = {
        name.removeprefix(prefix): result.measured
        for name, result in results.items()
        if name.startswith(prefix)
    }
    for run in ("ppo", "hacked-ppo"):
        if run in figures:
            figures[f"{run}-history"] = history(folder / run / "metrics.jsonl")
    return figures


def history(path: Path) -> list[dict[str, Any]]:
    """All entries of a run's `metrics.jsonl`."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def gold_at(curve: list[dict[str, float]], n: int) -> float:
    """Gold of the best of n, from a best-of-n curve."""
    return next(row["gold"] for row in curve if row["n"] == n)


def goals(figures: Figures) -> list[Goal]:
    """What the demo world must show."""
    quality = figures["reward-quality"]
    curve = quality["curve"]
    start, dpo, ppo = (figures[f"judge-{name}"] for name in ("sft", "dpo", "ppo"))
    rises = min(b["gold"] - a["gold"] for a, b in itertools.pairwise(curve))
    return [
        Goal("reward model, accuracy on gold pairs", quality["accuracy"], 0.82),
        Goal("the same where the gold gap is at least 1", quality["accuracy_wide_gap"], 0.90),
        Goal("least rise of the best-of-n curve between two n", rises, 0.0),
        Goal("DPO, gold above SFT", dpo["gold"] - start["gold"], 1.3),
        Goal("PPO, gold above SFT", ppo["gold"] - start["gold"], 1.7),
        Goal("PPO, KL to SFT in nats an answer", ppo["kl"], 6.0, at_most=True),
        Goal("PPO, gold above best-of-8", ppo["gold"] - gold_at(curve, 8), 0.0),
    ]


def write_figures(path: Path, figures: Any) -> None:
    """As JSON, without the paths of the machine."""
    text = json.dumps(figures, indent=1, default=str)
    path.write_text(re.sub(r"\n\s+(?=[-\d.e]+,?\n)", " ", text) + "\n", encoding="utf-8")
