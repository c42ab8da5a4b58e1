"""The page of a run: `report.md` with its figures, its curves and some answers, for a person to
read before the model is served."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from trainers.base.card import figure_table
from trainers.base.files import write_text

PAGE, PICTURES, HISTORY = "report.md", "report-plots", "metrics.jsonl"
SHOWN_SAMPLES = 5
MOST_CURVES = 16
FIRST = ("loss", "reward", "gold", "kl", "kl to reference", "rewards/margins", "rewards/accuracies")
"""Curves that come before the others."""
COUNTS = {
    "iteration": "`metrics.jsonl` and TensorBoard have the same figures.",
    "round": "`metrics.jsonl` has the same figures, `rounds.json` all of a round.",
    "step": "`metrics.jsonl` and TensorBoard have the same figures.",
}
"""What a run counts, and where its figures are."""
AT_THE_END = ("train_loss", "train_runtime", "train_samples_per_second", "train_steps_per_second")
"""Logged once by each start of a run, so more than once by a run that was resumed."""
NO_CURVES = frozenset({*COUNTS, *AT_THE_END, "epoch", "num_tokens", "total_flos"})


@dataclass(frozen=True)
class BeforeAndAfter:
    """An answer to the same prompt before and after training."""

    prompt: str
    before: str
    after: str


@dataclass(frozen=True)
class Part:
    """A section of the page: tables or text, and pictures by name."""

    title: str
    lines: Sequence[str]
    pictures: Mapping[str, Any]
    """Functions that draw into a figure; their file names are the keys."""


def write_report(
    folder: Path,
    title: str,
    figures: Mapping[str, float],
    *,
    parts: Sequence[Part] = (),
    samples: Sequence[BeforeAndAfter] = (),
) -> None:
    """Write the page and its pictures into a run's folder, from `metrics.jsonl` there.

    RunError if the disk is full.
    """
    # matplotlib takes a second to import, which a dry run need not wait for.
    from trainers.base.plots import write_pictures

    history = _history(folder / HISTORY)
    parts = [_curves(history), *parts]
    pictures = {name: draw for part in parts for name, draw in part.pictures.items()}
    write_pictures(pictures, folder / PICTURES)
    lines = [f"# {title}", "", *figure_table(figures), ""]
    for part in parts:
        lines += [f"## {part.title}", "", *part.lines, ""]
        lines += [f"![{name}]({PICTURES}/{name}.svg)\n" for name in part.pictures]
    if samples:
        lines += ["## Answers before and after", "", *map(_sample, samples[:SHOWN_SAMPLES])]
    write_text(folder / PAGE, "\n".join(lines))


def _history(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _curves(history: Sequence[Mapping[str, Any]]) -> Part:
    """All figures that were logged more than once, the most telling ones first."""
    from trainers.base.curves import curve_grid
    from trainers.base.plots import BLUE

    times: dict[str, int] = {}
    for entry in history:
        for name, value in entry.items():
            if isinstance(value, int | float) and name not in NO_CURVES:
                times[name] = times.get(name, 0) + 1
    names = [name for name, count in times.items() if count > 1]
    names.sort(key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    count = next((name for name in COUNTS if history and name in history[0]), "step")
    if not names:
        often = "" if count == "round" else "; `log_every` says how often"
        return Part("Curves", [f"Nothing was logged twice{often}."], {})
    colours = dict.fromkeys(names[:MOST_CURVES], BLUE)
    draw = partial(curve_grid, runs=[history], names=colours, count=count)
    left = names[MOST_CURVES:]
    rest = f" Not drawn: {', '.join(left)}." if left else ""
    words = f"By {count}; {COUNTS[count]}{rest}"
    return Part("Curves", [words], {"curves": draw})


def _sample(sample: BeforeAndAfter) -> str:
    """Texts as code, so that no answer changes the page."""
    both = (("prompt", sample.prompt), ("before", sample.before), ("after", sample.after))
    return "\n".join(f"{name}:\n\n{_as_code(text)}\n" for name, text in both)


def _as_code(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines() or [""])
