"""What is read of a candidate log, and how a bad line is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from bon_common.settings.errors import SettingsError
from bon_gateway.metrics import Metrics
from bon_gateway.recording.recorder import build_recorder
from bon_gateway.replay.log import read_log
from bon_gateway.sections.recording import RecordingSettings
from tests.bon_gateway.recording.kit import entry, request, selection
from tests.bon_gateway.replay.kit import candidate, candidates, line, write

GOOD = line(candidates([1.0, 2.0]))


def test_what_the_gateway_records_is_read(tmp_path: Path) -> None:
    recorder = build_recorder(RecordingSettings(folder=str(tmp_path)), Metrics())
    recorder.start()
    recorder.record(entry(request(), selection("Try kite.")))
    recorder.record(entry(request(), error="upstream_error"))
    recorder.close()
    answered, failed = read_log([tmp_path])
    assert [c.status for c in answered.request.candidates] == ["finished", "failed"]
    first = answered.request.candidates[0]
    assert first.message == {"role": "assistant", "content": "Try kite."}
    assert first.reward == 1.25
    assert failed.request.candidates == ()


def test_gold_and_prompt_tokens_are_read_and_other_fields_are_not(tmp_path: Path) -> None:
    made = line([candidate(0, gold=1, rewards={"other": 2.0})], prompt_tokens=7, task="sums")
    (found,) = read_log([write(tmp_path / "p.jsonl", [made])])
    assert found.request.prompt_tokens == 7
    assert found.request.candidates[0].gold == 1.0


def test_a_folder_has_its_plain_and_its_packed_files(tmp_path: Path) -> None:
    write(tmp_path / "candidates-b.jsonl", [GOOD])
    write(tmp_path / "candidates-a.jsonl.gz", [GOOD, GOOD])
    write(tmp_path / "notes.jsonl", [{"not": "a line"}])
    write(tmp_path / "candidates-c.jsonl.gz.part", [{"not": "a line"}])
    places = [Path(found.place).name for found in read_log([tmp_path])]
    assert places == [
        "candidates-a.jsonl.gz:1",
        "candidates-a.jsonl.gz:2",
        "candidates-b.jsonl:1",
    ]


def changed(**values: Any) -> str:
    return json.dumps({**GOOD, **values})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is no line of the candidate log: Input data was truncated"),
        ("[]", "is no line of the candidate log: Expected `object`, got `array`"),
        (json.dumps({"prompt": "x"}), "missing required field `v`"),
        (changed(v=2), "v: should be 1, not 2"),
        (changed(messages=[]), "Expected `array` of length >= 1 - at `$.messages`"),
        (changed(candidates=[candidate(0, tokens=-1)]), "`$.candidates[0].tokens`"),
        (changed(candidates=[candidate(0, status="fine")]), "Invalid enum value 'fine'"),
        (changed(candidates=[candidate(0, gold="yes")]), "Expected `float | null`, got `str`"),
        (changed(candidates=[candidate(0), candidate(0)]), "two have the same index"),
        (json.dumps(GOOD).replace("2.0", "NaN"), "JSON is malformed"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(GOOD) + "\n\n" + text + "\n")
    with pytest.raises(SettingsError) as caught:
        list(read_log([path]))
    assert str(caught.value).startswith(f"{path}:3: ")
    assert reason in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(json.dumps(GOOD).encode())[:-9])
    plain = tmp_path / "plain.jsonl.gz"
    plain.write_text(json.dumps(GOOD))
    for path, reason in (
        (tmp_path / "no.jsonl", "cannot be read: No such file or directory"),
        (cut, "cannot be unpacked"),
        (plain, "cannot be unpacked"),
        (tmp_path, "holds no file candidates-*.jsonl"),
    ):
        with pytest.raises(SettingsError, match="^" + str(path) + ": ") as caught:
            list(read_log([path]))
        assert reason in str(caught.value)
