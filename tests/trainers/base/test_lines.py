from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from tests.trainers.preferences.helpers import bot, read, user
from trainers.base.errors import DataError
from trainers.base.lines import read_rows
from trainers.preferences.records import Pairwise

LINE = '{"prompt": "hi", "chosen": "good", "rejected": "bad"}\n'
PAIR = Pairwise([user("hi")], [bot("good")], [bot("bad")])


def test_blank_lines_are_skipped_but_numbered(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(f"\n{LINE}  \n{LINE.strip()}", encoding="utf-8")
    rows = list(read_rows(path))
    assert [row.where for row in rows] == [f"{path}:2", f"{path}:4"]
    assert rows[1].values == {"prompt": "hi", "chosen": "good", "rejected": "bad"}


def test_a_line_that_is_too_long_is_named_and_the_next_is_read(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    long = LINE.replace("hi", "h" * 1000)
    path.write_text(long + LINE + long.rstrip(), encoding="utf-8")
    rows = list(read_rows(path, max_line_bytes=100))
    reason = "longer than 100 bytes"
    assert [(row.where, row.reason) for row in rows] == [
        (f"{path}:1", reason),
        (f"{path}:2", ""),
        (f"{path}:3", reason),
    ]
    assert [row.reason for row in read_rows(path, max_line_bytes=len(long) - 1)] == ["", "", ""]


def test_a_line_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(LINE.encode() + b"\xff\xfe\n" + LINE.encode())
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value) == f"{path}:2: not UTF-8 text"
    found, tally = read(path, skip_bad=True)
    assert found == [PAIR, PAIR]
    assert tally.bad == 1


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(content)
    with pytest.raises(DataError) as error:
        read(path, skip_bad=True)
    assert str(error.value) == f"{path}: the file has no records"


@pytest.mark.parametrize("name", ["none.jsonl", "none.jsonl.gz", "none.parquet"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError) as error:
        read(tmp_path / name)
    assert str(error.value) == f"{tmp_path / name}: No such file or directory"


def test_gzipped_lines(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl.gz"
    path.write_bytes(gzip.compress((LINE * 3).encode()))
    assert read(path)[0] == [PAIR] * 3


def test_a_gzip_file_that_was_not_finished_gives_what_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl.gz"
    sound = gzip.compress((LINE * 2).encode())
    path.write_bytes(sound + gzip.compress(LINE.encode() * 50)[:-12])
    with pytest.raises(DataError, match=r"d\.jsonl\.gz:\d+: the gzip file ends in the middle"):
        read(path)
    found, tally = read(path, skip_bad=True)
    assert found[:2] == [PAIR, PAIR]
    assert tally.bad == 1


def test_what_is_not_gzip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl.gz"
    path.write_text(LINE)
    with pytest.raises(DataError) as error:
        read(path)
    assert str(error.value) == f"{path}: not a gzip file"
    path.write_bytes(gzip.compress(LINE.encode())[:-8] + bytes(8))
    with pytest.raises(DataError, match="a damaged gzip file: CRC check failed"):
        read(path)


def test_parquet_rows_are_numbered_and_nulls_left_out(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    rows = [
        {"prompt": "hi", "chosen": "good", "rejected": "bad", "margin": None},
        {"prompt": "hi", "chosen": "good", "rejected": None, "margin": None},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    found, tally = read(path, skip_bad=True)
    assert found == [PAIR]
    assert tally.bad_lines == [f"{path}:2: rejected: missing"]


def test_nested_parquet_reads_as_jsonl_does(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    row = {"chosen": [user("hi"), bot("good")], "rejected": [user("hi"), bot("bad")]}
    parquet.write_table(pyarrow.Table.from_pylist([row] * 300), path)
    assert read(path)[0] == [PAIR] * 300


def test_what_is_not_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    path.write_text(LINE)
    with pytest.raises(DataError, match=r"d\.parquet: not a parquet file: "):
        read(path)
