"""Writes the settings fragment and the report of a calibration into its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from bon_gateway.calibrate.figures.results import RESULTS, CalibrationResults, to_json
from bon_gateway.calibrate.report.pictures import pictures
from bon_gateway.calibrate.report.tables import tables
from bon_gateway.compare.report.page import on_page, template
from bon_gateway.compare.report.plots import draw_all
from bon_gateway.compare.report.table import Table, as_text
from bon_gateway.compare.report.write import can_draw

FRAGMENT = "strategy.yaml"
PAGE = "page.html"
MARKDOWN = "report.md"
FOLDER = "pictures"
TITLE = "Serve this, because"


def write_report(results: CalibrationResults, folder: Path) -> Path:
    """Writes the fragment, JSON, the report in Markdown and as a page, and pictures if matplotlib
    is installed. Returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FRAGMENT).write_text(fragment(results), encoding="utf-8")
    (folder / RESULTS).write_bytes(to_json(results))
    drawn = draw_all(pictures(results), folder / FOLDER) if can_draw() else {}
    (folder / MARKDOWN).write_text(markdown(results, drawn), encoding="utf-8")
    page = folder / PAGE
    page.write_text(render(results, drawn), encoding="utf-8")
    return page


def fragment(results: CalibrationResults) -> str:
    """The strategy as the gateway's settings have it."""
    tree = {"models": {results.model: {"strategy": dict(results.recommended.settings)}}}
    body = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
    scales = "".join(
        f"# - {{reward: {name}, mean: {scale.mean:.6g}, std: {scale.std:.6g}}}\n"
        for name, scale in results.scales.items()
    )
    joined = f"# Scales of the rewards, where several are joined:\n{scales}" if scales else ""
    return (
        "# This strategy takes the place of the model's own in the gateway's settings.\n"
        f"# Calibrated on {results.prompts} prompts.\n{body}{joined}"
    )


def told(results: CalibrationResults) -> str:
    """For the terminal."""
    shown = [f"{one.title}\n{one.note}\n\n{as_text(one)}" for one in tables(results)]
    promises = [one.told for one in results.guarantees]
    lines = [*results.warnings, *promises]
    return "\n\n".join([*shown, *lines, f"{TITLE}\n{results.recommended.because}"]) + "\n"


def markdown(results: CalibrationResults, drawn: Mapping[str, str]) -> str:
    """``drawn`` are the names of the pictures that were written."""
    lines = [
        f"# {TITLE}",
        f"```yaml\n{fragment(results)}```",
        results.recommended.because,
    ]
    if results.guarantees:
        lines += ["## Guarantees", *[one.told for one in results.guarantees], PROMISE]
    if results.warnings:
        lines += ["## Warnings", "\n".join(f"- {warning}" for warning in results.warnings)]
    for one in tables(results):
        lines += [f"## {one.title}", one.note, _as_markdown(one)]
    known = pictures(results)
    lines += [f"![{known[name].caption}]({FOLDER}/{name}.svg)" for name in drawn]
    facts = [f"- {heading}: {text}" for heading, text in results.setup.items()]
    return "\n\n".join([*lines, "## What was calibrated on", "\n".join(facts)]) + "\n"


PROMISE = (
    "The confidence is over which prompts happened to be judged. The guarantee holds if later"
    " prompts come from where these come from, and policy, sampling and reward model stay. It says"
    " nothing of answers that stopped at the cap: no candidate of theirs was accepted."
)


def _as_markdown(shown: Table) -> str:
    rows = [shown.head, ("---",) * len(shown.head), *shown.rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows
    )


def render(results: CalibrationResults, drawn: Mapping[str, str]) -> str:
    """The page, which needs no other files and no network. ``drawn`` are SVG texts by name."""
    return template(Path(__file__).parent, PAGE + ".j2").render(
        title=TITLE,
        results=results,
        fragment=fragment(results),
        promise=PROMISE,
        tables=tables(results),
        pictures=on_page(pictures(results), drawn),
    )
