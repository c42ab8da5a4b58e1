"""Writes the report of a comparison into its folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from bon_gateway.compare.figures.results import RESULTS, Results, to_json
from bon_gateway.compare.figures.words import number
from bon_gateway.compare.report import plots
from bon_gateway.compare.report.colours import arm_variable
from bon_gateway.compare.report.figures_csv import as_csv
from bon_gateway.compare.report.page import on_page, template
from bon_gateway.compare.report.pictures import pictures
from bon_gateway.compare.report.tables import other_tables, quality_tables

PAGE = "report.html"
CSV = "figures.csv"
FOLDER = "pictures"
NO_PICTURES = "no pictures: pip install 'bon-gateway[compare]'"
"""A command's message if ``can_draw`` is false."""


def write_report(results: Results, folder: Path) -> Path:
    """Writes JSON, CSV, the page, and pictures if matplotlib is installed. Returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULTS).write_bytes(to_json(results))
    (folder / CSV).write_text(as_csv(results), encoding="utf-8")
    drawn = plots.draw_all(pictures(results), folder / FOLDER) if can_draw() else {}
    page = folder / PAGE
    page.write_text(render(results, drawn), encoding="utf-8")
    return page


def can_draw() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def render(results: Results, drawn: Mapping[str, str]) -> str:
    """The page, which needs no other files and no network. ``drawn`` are SVG texts by name."""
    places = {arm.name: place for place, arm in enumerate(results.arms)}
    return template(Path(__file__).parent, "page.html.j2").render(
        results=results,
        quality_tables=quality_tables(results),
        other_tables=other_tables(results),
        pictures=on_page(pictures(results), drawn),
        colours={name: arm_variable(place) for name, place in places.items()},
        number=number,
    )
