"""Writes the report of a comparison into its folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import jinja2
from markupsafe import Markup

from bon_gateway.compare.figures.results import RESULTS, Results, to_json
from bon_gateway.compare.figures.words import number
from bon_gateway.compare.report import plots
from bon_gateway.compare.report.colours import arm_variable, variables
from bon_gateway.compare.report.figures_csv import as_csv
from bon_gateway.compare.report.pictures import pictures
from bon_gateway.compare.report.tables import other_tables, quality_tables

PAGE = "report.html"
CSV = "figures.csv"
FOLDER = "pictures"


def write_report(results: Results, folder: Path) -> Path:
    """Writes JSON, CSV, the page, and pictures if matplotlib is installed. Returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULTS).write_bytes(to_json(results))
    (folder / CSV).write_text(as_csv(results), encoding="utf-8")
    drawn = plots.draw_all(results, folder / FOLDER) if can_draw() else {}
    page = folder / PAGE
    page.write_text(render(results, drawn), encoding="utf-8")
    return page


def can_draw() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def render(results: Results, drawn: Mapping[str, str]) -> str:
    """The page, which needs no other files and no network. ``drawn`` are SVG texts by name."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    named = pictures(results)
    places = {arm.name: place for place, arm in enumerate(results.arms)}
    return environment.get_template("page.html.j2").render(
        results=results,
        quality_tables=quality_tables(results),
        other_tables=other_tables(results),
        # Made here, with names of arms escaped by matplotlib.
        pictures=[(name, named[name], Markup(svg)) for name, svg in drawn.items()],  # noqa: S704
        variables=variables(),
        colours={name: arm_variable(place) for name, place in places.items()},
        number=number,
    )
