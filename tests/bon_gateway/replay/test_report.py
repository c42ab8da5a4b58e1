"""What a replay shows: on the page, in a browser and in files."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from bon_gateway.replay.report.write import write_report
from bon_gateway.replay.results import ReplayResults
from bon_gateway.replay.run import run
from tests.bon_gateway.compare import browser
from tests.bon_gateway.compare.test_browser import check_page
from tests.bon_gateway.compare.test_report import NASTY, Page
from tests.bon_gateway.replay.kit import candidate, candidates, line, settings_of, write

PROGRAM = browser.find()
STRATEGIES = {
    NASTY: {"type": "soft", "n": 4},
    "a strategy of a name that is much longer than any picture is wide": {
        "type": "first_k",
        "n": 3,
        "spare": 1,
    },
    "majority": {"type": "majority", "n": 4},
    "best_of_n n=2": {"type": "best_of_n", "n": 2},
}


@pytest.fixture
def results(tmp_path: Path) -> ReplayResults:
    lines = []
    for number in range(6):
        rewards = [float((number * place) % 7) for place in range(8)]
        golds = [float((number + place) % 3 == 0) for place in range(8)]
        tokens = [100 * place + 40 * number + 7 for place in range(8)]
        lines.append(line(candidates(rewards, golds=golds, tokens=tokens), f"prompt {number}"))
    path = write(tmp_path / "pools.jsonl", lines)
    drawn = [candidate(0, gold=0.0, tokens=150, reward=1.0)]
    greedy = [line(drawn, f"prompt {n}", sampling={"temperature": 0}) for n in range(6)]
    made = settings_of(path, STRATEGIES, greedy=str(write(tmp_path / "greedy.jsonl", greedy)))
    return run(made, lambda _: None)


def test_the_page_has_every_row_and_tells_its_pictures(
    results: ReplayResults, tmp_path: Path
) -> None:
    page = write_report(results, tmp_path / "out").read_text()
    read = Page()
    read.feed(page)
    assert read.open == []
    assert "<script>" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    for row in results.rows:
        assert page.count(f">{html.escape(row.name)}</td>") == 3
    alts = re.findall(r'<svg role="img" aria-label="([^"]+)"', page)
    assert [alt.split(", with")[0] for alt in alts] == [
        "Gold against tokens a request",
        "Gold against simulated ms a request",
        "Gold against reward",
    ]
    assert all("majority 0." in alt for alt in alts)
    drawn = sorted(path.name for path in (tmp_path / "out" / "pictures").iterdir())
    assert drawn == [
        f"{name}.{kind}"
        for name in ("by-latency", "by-tokens", "gold-by-reward")
        for kind in ("png", "svg")
    ]


def test_the_files_have_the_same_figures(results: ReplayResults, tmp_path: Path) -> None:
    write_report(results, tmp_path / "out")
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["format"] == 1
    assert [row["tokens"]["value"] for row in found["rows"]] == [
        row.tokens.value for row in results.rows
    ]
    text = (tmp_path / "out" / "table.txt").read_text()
    assert "What is answered" in text
    assert f"{results.rows[0].tokens.value:,.0f} (" in text


@pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed")
async def test_it_reads_well_on_both_screens_and_in_either_scheme(
    results: ReplayResults, tmp_path: Path
) -> None:
    assert PROGRAM is not None
    page = write_report(results, tmp_path / "out")
    await check_page(PROGRAM, page, tmp_path / "profile")
