"""What a calibration shows: on the page, in a browser and in files."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from markupsafe import escape

from bon_gateway.calibrate.figures.results import CalibrationResults
from bon_gateway.calibrate.report.write import fragment, markdown, render, write_report
from tests.bon_gateway.calibrate.kit import calibrated, trusted
from tests.bon_gateway.compare import browser
from tests.bon_gateway.compare.test_browser import check_page
from tests.bon_gateway.compare.test_report import NASTY, Page
from tests.bon_gateway.replay.kit import write

PROGRAM = browser.find()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> CalibrationResults:
    path = tmp_path_factory.mktemp("trusted") / "p.jsonl"
    found = calibrated(write(path, trusted(prompts=30, size=8)), extract={"type": "exact"})
    return replace(found, model=NASTY)


def test_the_page_has_every_row_and_tells_its_pictures(
    results: CalibrationResults, tmp_path: Path
) -> None:
    page = write_report(results, tmp_path / "out").read_text()
    read = Page()
    read.feed(page)
    assert read.open == []
    assert "<script>" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    for row in results.rows:
        assert page.count(f">{row.name}</td>") == 1
    for said in (results.recommended.because, *results.warnings):
        assert str(escape(said)) in page
    alts = re.findall(r'<svg role="img" aria-label="([^"]+)"', page)
    assert [alt.split(", with")[0] for alt in alts] == [
        "Reward of best-of-n",
        "Gold of best-of-n",
        "Gold against tokens a request",
    ]
    assert "good_enough 0." in alts[-1]
    assert "oracle" not in alts[-1]


def test_the_guarantees_say_what_they_assume(results: CalibrationResults) -> None:
    shown = markdown(results, {})
    assert results.guarantees
    for one in results.guarantees:
        assert one.told in shown
        assert one.told in render(results, {})
    assert "if later prompts come from where these come from" in shown
    without = markdown(replace(results, guarantees=()), {})
    assert "## Guarantees" not in without


def test_any_name_of_a_model_makes_a_fragment(results: CalibrationResults) -> None:
    tree = yaml.safe_load(fragment(results))
    assert tree == {"models": {NASTY: {"strategy": dict(results.recommended.settings)}}}


@pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed")
async def test_it_reads_well_on_both_screens_and_in_either_scheme(
    results: CalibrationResults, tmp_path: Path
) -> None:
    assert PROGRAM is not None
    page = write_report(results, tmp_path / "out")
    await check_page(PROGRAM, page, tmp_path / "profile")
