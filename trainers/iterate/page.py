"""The page over all rounds: their figures as a table and as curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainers.base.files import write_lines
from trainers.base.report import HISTORY, Part, write_report

ROUND_FIGURES = ("pairs", "reward of an answer", "reward of the best answer")


def history(records: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """A line of figures for each round."""
    return [
        {
            "round": record["round"],
            **{name: record[name] for name in ROUND_FIGURES},
            "answers or prompts without a pair": sum(record["left_out"].values()),
            **{f"after: {name}": value for name, value in record["after"].items()},
        }
        for record in records
    ]


def write_page(
    folder: Path, records: Sequence[Mapping[str, Any]], figures: Mapping[str, float]
) -> None:
    """Write `metrics.jsonl`, `report.md` and its pictures; RunError if the disk is full."""
    rows = history(records)
    write_lines(folder / HISTORY, rows)
    part = Part("Rounds", _table(rows), {})
    write_report(folder, "Rounds of sampling, labelling and DPO", figures, parts=[part])


def _table(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """A line for each round."""
    names = list(rows[0])
    cells = [[f"{row[name]:.4g}" for name in names] for row in rows]
    return [f"| {' | '.join(line)} |" for line in (names, ["---"] * len(names), *cells)]
