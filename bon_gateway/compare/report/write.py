"""Writes everything that a comparison shows into its folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import jinja2
from markupsafe import Markup

from bon_gateway.compare.figures import results as results_file
from bon_gateway.compare.figures.results import Results
from bon_gateway.compare.report import plots
from bon_gateway.compare.report.tables import as_csv, tables

PAGE = "report.html"
CSV = "figures.csv"
PICTURES = "pictures"


def write_report(results: Results, folder: Path) -> list[Path]:
    """JSON, CSV, pictures and the page; the files that a person opens. Without matplotlib there
    are no pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [results_file.write(results, folder)]
    (folder / CSV).write_text(as_csv(results), encoding="utf-8")
    drawn: Mapping[str, str] = {}
    if can_draw():
        drawn = plots.draw_all(results, folder / PICTURES)
    page = folder / PAGE
    page.write_text(render(results, drawn), encoding="utf-8")
    return [page, *written, folder / CSV]


def can_draw() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def render(results: Results, pictures: Mapping[str, str]) -> str:
    """The page, which needs nothing beside it and no network. ``pictures`` are SVG texts."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("page.html.j2").render(
        results=results,
        tables=tables(results),
        # Made here, with names of arms escaped by matplotlib.
        pictures={name: Markup(svg) for name, svg in pictures.items()},  # noqa: S704
        captions=plots.CAPTIONS,
    )
