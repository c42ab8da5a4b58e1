"""Published files, in the folder that BON_REAL_DATA names: exact counts, nothing unread."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.trainers.preferences.helpers import read_lines
from tests.trainers.preferences.test_prepare import prepare

FOLDER = Path(os.environ.get("BON_REAL_DATA", "nowhere"))


def published(name: str) -> Path:
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"BON_REAL_DATA names no folder with {name}")
    return path


def test_transcripts_judged_by_people(tmp_path: Path) -> None:
    path = published("hh-harmless-test.jsonl.gz")
    assert prepare(tmp_path, input=str(path), held_out_share=0) == 0
    report = json.loads((tmp_path / "out" / "prepare.report.json").read_text())
    assert (report["lines"], report["records"]) == (2312, 2312)
    assert report["dropped"] == {"empty answer": 4}
    joined = "transcripts with turns of one speaker in a row, joined"
    assert (report["noted"], report["fields_not_read"]) == ({joined: 9}, {})
    assert report["written"]["train"] == {"records": 2308, "prompts": 2305}
    lines = read_lines(tmp_path / "out" / "train.jsonl")
    assert all(line["prompt"][0]["role"] == line["prompt"][-1]["role"] == "user" for line in lines)
    assert all(len(line["chosen"]) == len(line["rejected"]) == 1 for line in lines)


def test_pairs_with_objective_labels(tmp_path: Path) -> None:
    path = published("llmbar.jsonl")
    assert prepare(tmp_path, input=str(path), held_out_share=0) == 0
    report = json.loads((tmp_path / "out" / "prepare.report.json").read_text())
    assert (report["lines"], report["records"], report["dropped"]) == (419, 419, {})
    assert report["fields_not_read"] == {}
    lines = read_lines(tmp_path / "out" / "train.jsonl")
    assert Counter(line["subset"] for line in lines) == {
        "Natural": 100,
        "Adversarial/Neighbor": 134,
        "Adversarial/GPTInst": 92,
        "Adversarial/GPTOut": 47,
        "Adversarial/Manual": 46,
    }
    for raw, line in zip(read_lines(path), lines, strict=True):
        assert line["chosen"][0]["content"] == raw[f"output_{raw['label']}"]
        assert line["prompt"] == [{"role": "user", "content": raw["input"]}]
