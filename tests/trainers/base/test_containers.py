"""Files as people have them: arrays, tables, packed ones, and what is no data at all."""

from __future__ import annotations

import gzip
import json
import math
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tests.trainers.preferences.helpers import bot, read, user
from trainers.base.context import RunContext
from trainers.base.errors import DataError
from trainers.base.lines import read_rows
from trainers.base.raw import RawRecord
from trainers.preferences import prepare
from trainers.preferences.records import Pairwise, Pointwise
from trainers.preferences.settings import PrepareSettings

RECORD = {"prompt": "hi", "chosen": "good", "rejected": "bad"}
LINE = json.dumps(RECORD) + "\n"
PAIR = Pairwise([user("hi")], [bot("good")], [bot("bad")])
BOM = b"\xef\xbb\xbf"


def zstd(data: bytes) -> bytes:
    return bytes(pyarrow.compress(data, codec="zstd", asbytes=True))


@pytest.mark.parametrize("name", ["d.json", "d.jsonl", "d.json.gz", "d.json.zst"])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("start", [b"", BOM, b"\n "])
def test_json_arrays(tmp_path: Path, name: str, indent: int | None, start: bytes) -> None:
    path = tmp_path / name
    data = start + json.dumps([RECORD] * 3, indent=indent).encode() + b"\n"
    packs = {".gz": gzip.compress, ".zst": zstd}
    path.write_bytes(packs.get(path.suffix, bytes)(data))
    assert read(path)[0] == [PAIR] * 3
    assert [row.where for row in read_rows(path)] == [f"{path}:{n}" for n in (1, 2, 3)]


def test_a_long_array_is_read_piece_by_piece(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    records = [{"text": "\u00e9\U0001f43b" * 40_000, "n": n} for n in range(5)]
    path.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    assert [row.values for row in read_rows(path)] == records


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ('[{"a": 1}, {"a": 2}', 3, "the JSON array ends in the middle"),
        ('[{"a": 1}, {"a": ', 2, "the JSON array ends in the middle"),
        ('[{"a": 1}, {"a": }]', 2, "broken JSON: Expecting value"),
        ('[{"a": 1}, 3]', 2, "a JSON object is expected"),
        ('[{"a": 1}; {"a": 2}]', 2, "broken JSON: , or ] is expected"),
        ('[{"a": NaN}]', 1, "broken JSON: NaN is no JSON number"),
        ('[{"a": 1}, {"a": 1, "a": 2}]', 2, "broken JSON: the key 'a' is there twice"),
        ('[{"a": 1}] {"a": 2}', 2, "something follows the JSON array"),
        ('[{"a": "' + "x" * 300_000 + '"}]', 1, "longer than 1000 bytes"),
        ('[{"a": ' + "[" * 100_000, 1, "broken JSON: nested too deeply"),
    ],
)
def test_a_broken_array_is_named_with_the_place(
    tmp_path: Path, text: str, place: int, reason: str
) -> None:
    path = tmp_path / "d.json"
    path.write_text(text)
    last = [row for row in read_rows(path, max_line_bytes=1000) if row.values is None][-1]
    assert (last.where, last.reason) == (f"{path}:{place}", reason)


def test_an_object_over_lines_is_no_array(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_text(json.dumps({"data": [RECORD]}, indent=2))
    with pytest.raises(DataError, match="one JSON object over lines; an array of records"):
        list(read_rows(path))


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(BOM + LINE.encode() * 2)
    assert read(path)[0] == [PAIR] * 2


def test_csv_and_tsv(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    text = 'prompt,answer,score\r\n"say ""hi"",\nplease",42,2.5\r\n\r\nhi,ho,3\r\n'
    path.write_bytes(BOM + text.encode())
    found, _ = read(path)
    assert found == [
        Pointwise([user('say "hi",\nplease')], [bot("42")], 2.5),
        Pointwise([user("hi")], [bot("ho")], 3.0),
    ]
    path = tmp_path / "d.tsv.gz"
    path.write_bytes(gzip.compress(b"prompt\tchosen\trejected\tmargin\nhi\tgood\tbad\t\n"))
    assert read(path)[0] == [PAIR]


def test_messages_in_a_cell(tmp_path: Path) -> None:
    path = tmp_path / "d.tsv"
    cells = [json.dumps([user("hi"), bot(answer)]) for answer in ("good", "bad")]
    path.write_text("chosen\trejected\n" + "\t".join(f"'{cell}'" for cell in cells) + "\n")
    path.write_text(
        "chosen\trejected\n"
        + "\t".join('"' + cell.replace('"', '""') + '"' for cell in cells)
        + "\n"
    )
    assert read(path)[0] == [PAIR]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("prompt,answer,score\nhi,ho\n", ":2: 2 cells for 3 columns"),
        ("prompt,answer,score\nhi,ho,much\n", ":2: score: a number is expected"),
        ("prompt,answer,score\nhi,ho,1_0\n", ":2: score: a number is expected"),
        (
            "prompt,answer,label\nhi,ho,yes\n",
            ": no usable record: 1 fewer than two usable answers; not read: label",
        ),
        ("prompt,prompt\nhi,ho\n", ":1: the column 'prompt' is there twice"),
        ('prompt,answer,score\n"hi,ho,1\n', ":2: broken CSV: unexpected end of data"),
        ("prompt,answer\n", ": the file has no records"),
    ],
)
def test_a_broken_table_is_named(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "d.csv"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        prepared(path)
    assert str(error.value) == f"{path}{reason}"


def test_a_column_without_a_name_is_called_by_its_place(tmp_path: Path) -> None:
    """pandas writes its index so."""
    path = tmp_path / "d.csv"
    path.write_text(",prompt,chosen,rejected\n0,hi,good,bad\n")
    found, tally = read(path)
    assert found == [PAIR]
    assert tally.unread == {path: {"column 1": 1}}


def prepared(path: Path) -> None:
    settings = PrepareSettings(input=(path,), output=path.parent / "out", held_out_share=0)
    prepare.run(settings, RunContext("bon-train prepare", dry_run=True, show=lambda text: None))


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"chat_template_kwargs": {"a": date(2020, 1, 1)}}, "chat_template_kwargs: holds what"),
        ({"chat_template_kwargs": {"a": math.nan}}, "chat_template_kwargs: holds what"),
        ({"tools": [{"function": {"name": "f", "x": b"1"}}]}, "tools: holds what JSON does not"),
        (
            {"chosen": [{**bot("a"), "tool_calls": [{"name": "f", "x": b"1"}]}]},
            "chosen.0.tool_calls: holds what JSON does not",
        ),
    ],
)
def test_what_parquet_has_and_json_has_not(
    tmp_path: Path, more: dict[str, Any], reason: str
) -> None:
    path = tmp_path / "d.parquet"
    sound = RECORD | {"when": date(2020, 1, 1)}
    parquet.write_table(pyarrow.Table.from_pylist([sound]), path)
    assert read(path)[0] == [PAIR]
    parquet.write_table(pyarrow.Table.from_pylist([RECORD | more]), path)
    with pytest.raises(DataError) as error:
        prepared(path)
    assert str(error.value).startswith(f"{path}:1: {reason}")


def test_a_zstd_file_that_was_not_finished_gives_what_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl.zst"
    path.write_bytes(zstd(LINE.encode() * 2) + zstd(LINE.encode() * 50)[:-6])
    with pytest.raises(DataError, match=r"d\.jsonl\.zst:\d+: the zstd file ends in the middle"):
        read(path)
    path.write_bytes(zstd(LINE.encode() * 2) + zstd(LINE.encode()))
    assert read(path)[0] == [PAIR] * 3
    path.write_text(LINE)
    with pytest.raises(DataError, match=r"d\.jsonl\.zst: not a zstd file"):
        read(path)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("d.jsonl", POINTER, "a pointer of Git LFS, not the data; `git lfs pull`"),
        ("d.parquet", POINTER, "a pointer of Git LFS, not the data; `git lfs pull`"),
        ("d.jsonl.gz", POINTER, "a pointer of Git LFS, not the data; `git lfs pull`"),
        ("d.jsonl", b"/annex/objects/SHA256E-s9--00.jsonl\n", "a pointer of git-annex"),
        ("d.jsonl", b"\n<!DOCTYPE html><html>", "a web page"),
        ("d.csv", b"PK\x03\x04rest", "a zip archive or a spreadsheet"),
        ("d.jsonl", b"\xff\xfe{\x00", "UTF-16 text; UTF-8 is expected"),
        ("d.jsonl", gzip.compress(b"{}", mtime=0), "packed with gzip; give it the ending .gz"),
        ("d.jsonl", zstd(b"{}"), "packed with zstd; give it the ending .zst"),
        ("d.jsonl", b"PAR1rest", "a parquet file; give it the ending .parquet"),
        ("d.arrow", b"ARROW1\x00\x00", "an Arrow file; write it as parquet"),
        ("d.jsonl.gz", gzip.compress(b"<html>", mtime=0), "a web page"),
        ("d.tar", b"a" * 257 + b"ustar", "a tar archive; unpack it"),
    ],
)
def test_what_is_no_data_is_named_for_what_it_is(
    tmp_path: Path, name: str, data: bytes, what: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DataError) as error:
        list(read_rows(path))
    assert str(error.value).startswith(f"{path}: {what}")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a folder, where a file is expected"):
        list(read_rows(tmp_path))


def test_numbers_of_json_stay_numbers(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    record: dict[str, Any] = {"prompt": "hi", "answer": "ho", "score": "3"}
    path.write_text(json.dumps(record))
    with pytest.raises(DataError, match="score: a number is expected"):
        read(path)


PIECES = st.sampled_from(
    [
        *(b"[", b"]", b"{", b"}", b'"a"', b":", b",", b"\n", b"\t", b'"', b"1", b" ", b"\x00"),
        *(b"\xff", BOM, LINE.encode(), b"PAR1", b"NaN", b"\r", b"\xc3", b"a,b\n"),
    ]
)


@settings(max_examples=60)
@given(
    st.lists(PIECES, max_size=12).map(b"".join),
    st.sampled_from(["jsonl", "json", "csv", "tsv", "parquet"]),
    st.sampled_from(["", ".gz", ".zst"]),
    st.integers(0, 8),
)
def test_whatever_a_file_holds_it_is_read_or_named(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, kind: str, pack: str, cut: int
) -> None:
    path = tmp_path_factory.mktemp("any") / f"d.{kind}{pack}"
    packed = {".gz": gzip.compress, ".zst": zstd}.get(pack, bytes)(data)
    path.write_bytes(packed[: len(packed) - cut])
    rows: list[RawRecord] = []
    said = ""
    try:
        rows = list(read_rows(path))
    except DataError as error:
        said = str(error)
    assert said == "" or said.startswith(str(path))
    assert "\n" not in said
    assert all(row.where.startswith(f"{path}:") for row in rows)
    assert all((row.values is None) == bool(row.reason) for row in rows)
