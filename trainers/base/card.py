"""The model card of a run: what made the weights, from which data, and what was measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainers.base.files import write_text
from trainers.base.settings import Settings, flat

CARD = "README.md"
NAMED = ("chat_template",)
"""Settings that are paths, or names, and belong into the card."""


def write_card(
    folder: Path,
    title: str,
    command: str,
    data: Mapping[str, str],
    settings: Settings,
    figures: Mapping[str, float],
) -> None:
    """Write `README.md` into the checkpoint folder.

    `data` maps a file's name to its SHA-256; `figures` holds measured values only. The paths of
    the machine that trained are left out. Raises RunError if the disk is full.
    """
    chosen = settings.model_dump(exclude={"model"}, exclude_none=True)
    text = "\n".join(
        [
            f"# {title}",
            "",
            "Made by:",
            "",
            f"    {command}",
            "",
            "## Data",
            "",
            *(f"- `{name}`: SHA-256 `{digest}`" for name, digest in data.items()),
            "",
            "## Settings",
            "",
            *_lines(chosen),
            "",
            "## Measured",
            "",
            *figure_table(figures),
            "",
        ]
    )
    write_text(folder / CARD, text)


def _lines(chosen: Mapping[str, Any]) -> list[str]:
    """A line for each setting; of a template's file its name alone."""
    names = {key: path.name for key in NAMED if isinstance(path := chosen.get(key), Path)}
    known = {**chosen, **names}
    return [f"- {key}: {value}" for key, value in flat(known) if not isinstance(value, Path)]


def append_figures(folder: Path, heading: str, figures: Mapping[str, float]) -> None:
    """Add a table of figures that were measured after training."""
    append_text(folder, "\n".join(["", f"## {heading}", "", *figure_table(figures), ""]))


def append_text(folder: Path, text: str) -> None:
    """Add to the card; RunError if the disk is full."""
    write_text(folder / CARD, (folder / CARD).read_text(encoding="utf-8") + text)


def figure_table(figures: Mapping[str, float]) -> list[str]:
    """The lines of a Markdown table, numbers to four significant digits."""
    rows = [f"| {name} | {_number(value)} |" for name, value in figures.items()]
    return ["| figure | value |", "|---|---|", *rows]


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4g}"
