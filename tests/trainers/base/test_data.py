from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from trainers.base.bad_lines import BadLines
from trainers.base.data import (
    Demonstration,
    Pair,
    PromptRecord,
    Record,
    data_hash,
    read_placed,
    read_records,
    write_records,
)
from trainers.base.errors import DataError

USER = '{"role": "user", "content": "hi"}'
ANSWER = '{"role": "assistant", "content": "hello"}'
GOOD = f'{{"messages": [{USER}, {ANSWER}], "id": 7}}'


def write(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_messages_stand_for_a_prompt(tmp_path: Path) -> None:
    alone, both = f'{{"messages": [{USER}]}}', f'{{"prompt": "ho", "messages": [{USER}]}}'
    bad = BadLines()
    records = read_placed(PromptRecord, write(tmp_path, GOOD, alone, both), bad)
    asked = [record.prompt for _, record in records]
    assert asked == [[{"role": "user", "content": text}] for text in ("hi", "hi", "ho")]
    unread = "records with a field that is not read"
    assert bad.figures() == {f"{unread}: id": 1, f"{unread}: messages": 1}


def test_reads_records_and_skips_blank_lines(tmp_path: Path) -> None:
    records = read_records(Demonstration, write(tmp_path, GOOD, "", GOOD))
    assert len(records) == 2
    assert records[0].messages[1] == {"role": "assistant", "content": "hello"}


@pytest.mark.parametrize(
    ("kind", "line", "reason"),
    [
        (Demonstration, '{"messages": [', "2: broken JSON: Expecting value at column"),
        (Demonstration, "{}", "2: messages: Field required"),
        (Demonstration, '{"messages": []}', "2: messages: List should have at least 1 item"),
        (Demonstration, f'{{"messages": [{USER}]}}', "the last message must be the assistant's"),
        (
            Demonstration,
            '{"messages": [{"role": "user"}]}',
            "2: messages.0.content: Field required",
        ),
        (Demonstration, "[1]", "2: a JSON object is expected"),
        (Pair, '{"margin": NaN}', "2: broken JSON: NaN is no JSON number"),
        (PromptRecord, "{}", "2: prompt: Field required"),
        (Pair, f'{{"prompt": [{USER}], "chosen": [{ANSWER}]}}', "2: rejected: Field required"),
        (
            Pair,
            f'{{"prompt": [{USER}], "chosen": [{ANSWER}], "rejected": [{ANSWER}]}}',
            "2: chosen and rejected are equal",
        ),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, kind: type[Record], line: str, reason: str) -> None:
    path = write(tmp_path, "", line)
    with pytest.raises(DataError) as error:
        read_records(kind, path)
    assert str(error.value).startswith(f"{path}:2: ")
    assert reason in f"{error.value}"
    assert "\n" not in str(error.value)


def test_empty_missing_and_binary_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.jsonl: the file has no records"):
        read_records(PromptRecord, write(tmp_path, "", ""))
    with pytest.raises(DataError, match=r"none\.jsonl: No such file"):
        read_records(PromptRecord, tmp_path / "none.jsonl")
    (tmp_path / "b.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"b\.jsonl:1: not UTF-8"):
        read_records(PromptRecord, tmp_path / "b.jsonl")


def test_zipped_and_columnar_files_are_read_as_well(tmp_path: Path) -> None:
    line = json.loads(GOOD)
    with gzip.open(tmp_path / "d.jsonl.gz", "wt") as out:
        out.write(f"{GOOD}\n{{}}\n")
    with pytest.raises(DataError, match=r"d\.jsonl\.gz:2: messages: Field required"):
        read_records(Demonstration, tmp_path / "d.jsonl.gz")
    parquet.write_table(pyarrow.Table.from_pylist([line, line]), tmp_path / "d.parquet")
    [(where, record), _] = read_placed(Demonstration, tmp_path / "d.parquet")
    assert where == f"{tmp_path / 'd.parquet'}:1"
    assert record.messages == line["messages"]


def test_what_is_written_is_read_and_hashed(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "prompts.jsonl"
    write_records(path, [{"prompt": [{"role": "user", "content": "hé\n"}]}])
    assert read_records(PromptRecord, path)[0].prompt[0]["content"] == "hé\n"
    assert data_hash(path) == hashlib.sha256(path.read_bytes()).hexdigest()
