"""The page of a run: its figures, a picture of its curves, answers that cannot change the page."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from trainers.base.report import BeforeAndAfter, write_report


def logged(folder: Path, *entries: dict[str, Any]) -> None:
    lines = "".join(json.dumps(entry) + "\n" for entry in entries)
    (folder / "metrics.jsonl").write_text(lines)


def titles(picture: Path) -> str:
    return " ".join(text or "" for text in ET.parse(picture).getroot().itertext())


def test_all_that_was_logged_twice_is_drawn(tmp_path: Path) -> None:
    logged(
        tmp_path,
        {"step": 1, "grad_norm": 2.0, "loss": 0.7, "epoch": 0.1},
        {"step": 2, "grad_norm": 1.5, "loss": 0.6, "epoch": 0.2, "alarms": ["kl"]},
        {"step": 2, "train_runtime": 3.0},
        {"step": 2, "train_runtime": 4.0},  # of a resumed run
    )
    write_report(tmp_path, "A policy", {"updates": 2, "loss": 0.65})
    page = (tmp_path / "report.md").read_text()
    assert page.startswith("# A policy\n")
    assert "| updates | 2 |" in page
    assert "![curves](report-plots/curves.svg)" in page
    drawn = titles(tmp_path / "report-plots" / "curves.svg")
    assert drawn.index("loss") < drawn.index("grad_norm")
    assert "epoch" not in drawn
    assert "train_runtime" not in drawn
    assert "alarms" not in drawn


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    names = [f"figure-{n:02}" for n in range(20)]
    logged(tmp_path, *({"iteration": i, **dict.fromkeys(names, 1.0)} for i in (1, 2)))
    write_report(tmp_path, "A policy", {})
    page = (tmp_path / "report.md").read_text()
    assert "Not drawn: figure-16, figure-17, figure-18, figure-19." in page
    assert "By iteration;" in page


def test_each_column_of_curves_says_what_it_counts_by(tmp_path: Path) -> None:
    """Seven curves leave the last column of the lower row empty. Small numbers are written out."""
    names = [f"figure-{n}" for n in range(7)]
    logged(tmp_path, *({"iteration": i, **dict.fromkeys(names, i * 1e-6)} for i in (1, 2, 3)))
    write_report(tmp_path, "A policy", {})
    words = titles(tmp_path / "report-plots" / "curves.svg").split()
    assert [word for word in words if word in names] == names
    assert words.count("iteration") == 4
    assert sum(word.endswith("e-06") for word in words) > 7


def test_a_short_run_has_no_curves(tmp_path: Path) -> None:
    logged(tmp_path, {"step": 1, "loss": 0.7})
    write_report(tmp_path, "A policy", {})
    assert "Nothing was logged twice" in (tmp_path / "report.md").read_text()
    assert list((tmp_path / "report-plots").iterdir()) == []


def test_answers_stay_text(tmp_path: Path) -> None:
    logged(tmp_path, {"step": 1})
    samples = [BeforeAndAfter("Hi", "# no title\n![x](http://x)", "")] * 7
    write_report(tmp_path, "A policy", {}, samples=samples)
    page = (tmp_path / "report.md").read_text()
    assert page.count("\n    # no title\n    ![x](http://x)\n") == 5
