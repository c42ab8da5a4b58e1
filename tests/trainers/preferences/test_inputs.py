"""Folders, patterns and the gateway's recording folder as inputs."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from bon_gateway.recording.files import LogFiles
from bon_gateway.sections.recording import RecordingSettings
from tests.trainers.preferences.helpers import log_candidate, log_line, read_lines, write_lines
from tests.trainers.preferences.test_prepare import pair_line, prepare
from trainers.base.errors import DataError
from trainers.preferences.inputs import data_files
from trainers.preferences.tally import Tally


def test_a_folder_stands_for_its_data_files(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.json", "c.csv.gz", "e.parquet", "d.tsv.zst"):
        (tmp_path / name).write_text("x")
    for name in ("README.md", "prepare.report.json", "f.jsonl.gz.part"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".hidden.jsonl").write_text("x")
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "inner.jsonl").mkdir()
    tally = Tally()
    found = data_files([tmp_path, tmp_path / "b.jsonl"], tally)
    assert [path.name for path in found] == [
        "a.json",
        "b.jsonl",
        "c.csv.gz",
        "d.tsv.zst",
        "e.parquet",
    ]
    assert tally.noted == {
        "files of a folder that are not data, left out": 3,
        "empty files, left out": 1,
    }


def test_a_pattern_stands_for_what_matches(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("1.jsonl", "2.jsonl", "other.csv", "in/3.jsonl", "[x].jsonl"):
        (tmp_path / name).write_text("x")
    names = ["1.jsonl", "2.jsonl", "[x].jsonl"]
    assert [path.name for path in data_files([tmp_path / "*.jsonl"], Tally())] == names
    assert len(data_files([tmp_path / "**" / "*.jsonl"], Tally())) == 4
    assert data_files([tmp_path / "[x].jsonl"], Tally()) == (tmp_path / "[x].jsonl",)


@pytest.mark.parametrize("name", ["", "*.csv"])
def test_nothing_found_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "README.md").write_text("x")
    with pytest.raises(DataError, match="no file with data; data files end in "):
        data_files([tmp_path / name], Tally())


def test_a_name_that_no_file_can_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"/x+: File name too long$"):
        data_files([tmp_path / ("x" * 300)], Tally())


def test_the_gateways_recording_folder_is_read_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "log"
    files = LogFiles(RecordingSettings(folder=str(folder), max_bytes=1000))
    for n in range(5):
        line = log_line(
            log_candidate(0, f"good {n}", 2.0),
            log_candidate(1, "bad", 1.0),
            messages=[{"role": "user", "content": f"question {n}"}],
        )
        files.append(json.dumps(line).encode() + b"\n")
    files.close()
    packed = sorted(folder.glob("*.jsonl.gz"))
    assert packed
    # As in the moment between the packed file's appearance and the other's end.
    packed[0].with_suffix("").write_bytes(gzip.decompress(packed[0].read_bytes()))
    (folder / "candidates-dead.jsonl.gz.part").write_bytes(b"\x1f\x8b")
    assert prepare(tmp_path, input=str(folder), held_out_share=0) == 0
    assert len(read_lines(tmp_path / "out" / "train.jsonl")) == 5
    report = json.loads((tmp_path / "out" / "prepare.report.json").read_text())
    assert set(report["input"]) == {
        path.name for path in folder.iterdir() if path != packed[0].with_suffix("")
    } - {"candidates-dead.jsonl.gz.part"}
    assert report["fields_not_read"] == {}
    out = capsys.readouterr().out.splitlines()
    assert "files that are there packed too, left out: 1" in out
    assert "files of a folder that are not data, left out: 1" in out


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        write_lines(tmp_path / name / "d.jsonl", pair_line(name) | {"id": 1})
    assert (
        prepare(tmp_path, input=[str(tmp_path / "a"), str(tmp_path / "b")], held_out_share=0) == 0
    )
    report = json.loads((tmp_path / "out" / "prepare.report.json").read_text())
    paths = {str(tmp_path / name / "d.jsonl") for name in "ab"}
    assert set(report["input"]) == paths
    assert set(report["fields_not_read"]) == paths
