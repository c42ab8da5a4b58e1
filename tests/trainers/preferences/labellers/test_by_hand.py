"""`bon-train label` by people, on a sheet and in the terminal."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.preferences.helpers import (
    read_lines,
    write_lines,
)
from tests.trainers.preferences.labelling import (
    answers,
    configured,
    label,
    report,
    texts_of,
)


def hand(folder: Path, suffix: str = ".tsv", **settings: Any) -> dict[str, Any]:
    return {"type": "hand", "sheet": str(folder / f"sheet{suffix}")} | settings


def read_rows(path: Path) -> list[dict[str, str]]:
    if path.suffix == ".jsonl":
        return read_lines(path)
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines, dialect="excel-tab"))


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    if path.suffix == ".jsonl":
        write_lines(path, *rows)
        return
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, rows[0].keys(), dialect="excel-tab")
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl"])
def test_a_sheet_is_written_filled_in_and_read(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [[f'good "{n}"\nline\ttwo', f"bad {n}"] for n in range(20)]
    answers(tmp_path, *records)
    sheet = tmp_path / f"sheet{suffix}"
    assert label(tmp_path, hand(tmp_path, suffix)) == 0
    out = capsys.readouterr().out
    assert "comparisons to label: 20" in out
    assert f"{sheet}: fill in" in out
    assert not (tmp_path / "out.jsonl").exists()
    rows = read_rows(sheet)
    shown_first = [row["answer_a"].startswith("good") for row in rows]
    assert 0 < sum(shown_first) < 20  # the order is blind
    for row, good_first in zip(rows, shown_first, strict=True):
        row["preference"] = "significantly better" if good_first else "significantly worse"
    rows[0]["preference"] = "tie"
    rows[1]["preference"] = ""
    rows[2]["preference"] = "skip"
    rows[3]["preference"] = "A" if shown_first[3] else "b"
    rows[4]["preference"] = ""
    rows[4]["rewrite"] = "best"
    write_rows(sheet, rows)
    assert label(tmp_path, hand(tmp_path, suffix)) == 0
    lines = read_lines(tmp_path / "out.jsonl")
    pairs = texts_of(tmp_path / "out.jsonl")
    assert sorted(pairs[1:3]) == sorted([("best", records[4][0]), ("best", "bad 4")])
    assert pairs[:1] + pairs[3:] == [(records[n][0], f"bad {n}") for n in (3, *range(5, 20))]
    assert [line.get("margin") for line in lines] == [None] * 3 + [3.0] * 15
    assert report(tmp_path)["dropped"] == {
        "left out by the labeller": 1,
        "not labelled yet": 1,
        "ties": 1,
    }


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        ({"preference": "nicer"}, 2, "preference: 'nicer' is no step of the scale"),
        ({"id": "x"}, 2, "id: no such answers in the input: 'x'"),
        ({"id": "{key}-0-2"}, 2, "id: no such answers in the input: '{key}-0-2'"),
        ({"id": "{key}-1-1"}, 2, "id: no such answers in the input: '{key}-1-1'"),
        ({"id": "{other}"}, 3, "id: is there twice"),
    ],
)
def test_a_mistake_on_a_sheet_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, str],
    line: int,
    message: str,
) -> None:
    answers(tmp_path, ["a", "b"], ["c", "d"])
    assert label(tmp_path, hand(tmp_path)) == 0
    rows = read_rows(tmp_path / "sheet.tsv")
    key = rows[0]["id"].partition("-")[0]
    rows[0] |= {k: v.format(key=key, other=rows[1]["id"]) for k, v in change.items()}
    write_rows(tmp_path / "sheet.tsv", rows)
    assert label(tmp_path, hand(tmp_path)) == 2
    error = capsys.readouterr().err
    assert error == f"bon-train: {tmp_path / 'sheet.tsv'}:{line}: {message.format(key=key)}\n"


def test_a_sheet_without_its_columns_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(tmp_path, ["a", "b"])
    (tmp_path / "sheet.tsv").write_text("id\tlabel\n")
    assert label(tmp_path, hand(tmp_path)) == 2
    assert "sheet.tsv:1: no column preference" in capsys.readouterr().err


def at_a_terminal(path: Path, *typed: str) -> tuple[int, str]:
    """Run the command as somebody who types these lines; its exit code and what it showed."""
    controller, terminal = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "trainers", "label", "--config", str(path)],
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    os.close(terminal)
    os.write(controller, "".join(f"{line}\n" for line in typed).encode())
    out, _ = process.communicate(timeout=60)
    os.close(controller)
    return process.returncode, out


def test_the_terminal_asks_and_goes_on_where_it_was_left(tmp_path: Path) -> None:
    answers(tmp_path, ["one", "two"], ["three", "four"])
    path = configured(tmp_path, {"type": "hand"})
    code, out = at_a_terminal(path, "a", "q")
    assert code == 130, out
    first = re.search(r"\[A\] (\w+)\n\n\[B\] (\w+)", out)
    assert first is not None
    assert "the same command goes on" in out
    assert not (tmp_path / "out.jsonl").exists()
    code, out = at_a_terminal(path, "b")
    assert code == 0, out
    second = re.search(r"\[A\] (\w+)\n\n\[B\] (\w+)", out)
    assert second is not None
    assert set(first.groups()) == {"one", "two"}
    assert set(second.groups()) == {"three", "four"}
    assert texts_of(tmp_path / "out.jsonl") == [first.groups(), second.groups()[::-1]]


def test_a_sheet_may_be_filled_in_bit_by_bit(tmp_path: Path) -> None:
    answers(tmp_path, ["a", "b"], ["c", "d"])
    for filled in range(3):
        if filled:
            rows = read_rows(tmp_path / "sheet.tsv")
            rows[filled - 1]["preference"] = "a"
            write_rows(tmp_path / "sheet.tsv", rows)
        else:
            assert label(tmp_path, hand(tmp_path)) == 0
        assert label(tmp_path, hand(tmp_path)) == (0 if filled else 1)
        made = tmp_path / "out.jsonl"
        assert (len(read_lines(made)) if made.exists() else 0) == filled


def test_a_sheet_does_not_replace_a_file_of_another_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(tmp_path, ["a", "b"])
    assert label(tmp_path, hand(tmp_path)) == 0
    (tmp_path / "out.jsonl").write_text("mine")
    assert label(tmp_path, hand(tmp_path)) == 2
    assert "out.jsonl: already there" in capsys.readouterr().err
