"""The page over all rounds."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from tests.trainers.iterate.conftest import MakeSettings
from tests.trainers.runtime.helpers import START
from trainers.iterate.measure import WINS, share_won
from trainers.iterate.page import write_page
from trainers.iterate.run import run


def record(number: int, **after: float) -> dict[str, Any]:
    return {
        "round": number,
        "pairs": 8 - number,
        "reward of an answer": 0.5 * number,
        "reward of the best answer": 1.0 + number,
        "left_out": {"too close": 2, "cut": 1},
        "after": after,
    }


def test_each_round_has_a_row_and_all_have_curves(tmp_path: Path) -> None:
    records = [record(n, reward=1.5 * n, **{WINS: 0.5 + n / 4}) for n in range(3)]
    write_page(tmp_path, records, {"rounds": 3})
    page = (tmp_path / "report.md").read_text()
    assert page.startswith("# Rounds of sampling, labelling and DPO\n")
    assert f"| after: {WINS} |" in page
    assert "| 2 | 6 | 1 | 3 | 3 | 3 | 1 |" in page
    assert "By round; `metrics.jsonl` has the same figures" in page
    picture = ET.parse(tmp_path / "report-plots" / "curves.svg").getroot()
    drawn = " ".join(text or "" for text in picture.itertext())
    assert "reward of the best answer" in drawn
    assert "after: reward" in drawn


def test_one_round_makes_no_curve(tmp_path: Path) -> None:
    write_page(tmp_path, [record(0)], {})
    page = (tmp_path / "report.md").read_text()
    assert "Nothing was logged twice.\n" in page
    assert "| 0 | 8 | 0 | 1 | 3 |" in page


def test_equal_rewards_are_half_a_win() -> None:
    assert share_won([1.0, 2.0, 3.0, 4.0], [0.0, 2.0, 5.0, 3.0]) == 2.5 / 4


def test_a_run_writes_it(settings: MakeSettings, world: Path) -> None:
    one = settings(eval_prompts=world / "prompts.jsonl")
    figures = run(one, START)
    page = (one.output / "report.md").read_text()
    rows = [json.loads(line) for line in (one.output / "metrics.jsonl").read_text().splitlines()]
    assert [row["round"] for row in rows] == [0, 1]
    assert 0 <= rows[1][f"after: {WINS}"] <= 1
    assert figures[f"after the last round: {WINS}"] == rows[1][f"after: {WINS}"]
    assert f"| after the last round: {WINS} |" in page
    assert (one.output / "report-plots" / "curves.svg").is_file()
    assert len(json.loads((one.output / "rounds" / "start.json").read_text())["rewards"]) == 12
