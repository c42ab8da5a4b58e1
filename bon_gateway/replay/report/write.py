"""Writes the report of a replay into its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bon_gateway.compare.report.page import on_page, template
from bon_gateway.compare.report.plots import draw_all
from bon_gateway.compare.report.table import as_text
from bon_gateway.compare.report.write import can_draw
from bon_gateway.replay.report.pictures import pictures
from bon_gateway.replay.report.tables import tables
from bon_gateway.replay.results import RESULTS, ReplayResults, to_json

PAGE = "page.html"
TEXT = "table.txt"
FOLDER = "pictures"
TITLE = "Strategies on recorded candidates"


def write_report(results: ReplayResults, folder: Path) -> Path:
    """Writes JSON, the tables as text, the page, and pictures if matplotlib is installed. Returns
    the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULTS).write_bytes(to_json(results))
    (folder / TEXT).write_text(told(results), encoding="utf-8")
    drawn = draw_all(pictures(results), folder / FOLDER) if can_draw() else {}
    page = folder / PAGE
    page.write_text(render(results, drawn), encoding="utf-8")
    return page


def told(results: ReplayResults) -> str:
    """For the terminal."""
    shown = [f"{one.title}\n{one.note}\n\n{as_text(one)}" for one in tables(results)]
    return "\n\n".join([*shown, *results.warnings]) + "\n"


def render(results: ReplayResults, drawn: Mapping[str, str]) -> str:
    """The page, which needs no other files and no network. ``drawn`` are SVG texts by name."""
    return template(Path(__file__).parent, PAGE + ".j2").render(
        title=TITLE,
        results=results,
        tables=tables(results),
        pictures=on_page(pictures(results), drawn),
    )
