"""`bon-train prepare`, from the command line to its files and its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.trainers.preferences.helpers import (
    bot,
    log_candidate,
    log_line,
    read_lines,
    user,
    write_lines,
)
from trainers.base.context import RunContext
from trainers.base.data import Pair, data_hash, read_records
from trainers.cli import main
from trainers.preferences.prepare import run
from trainers.preferences.settings import PrepareSettings
from trainers.preferences.split import normalised
from trainers.preferences.usable import DUPLICATE


def prepare(folder: Path, *flags: str, **settings: Any) -> int:
    values = {"input": str(folder / "d.jsonl"), "output": str(folder / "out")} | settings
    config = folder / "prepare.yaml"
    config.write_text(yaml.safe_dump(values), encoding="utf-8")
    return main(["prepare", "--config", str(config), "--overwrite", *flags])


def pair_line(prompt: str, chosen: str = "good", rejected: str = "bad") -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def test_files_report_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [pair_line(f"question {n}") for n in range(40)]
    extra = [lines[0], pair_line("tie", "same", "same"), pair_line("empty", " ")]
    path = write_lines(tmp_path / "d.jsonl", *lines, *extra, "{")
    assert prepare(tmp_path, "--set", "skip_bad=true", held_out_share=0.25, seed=1) == 0
    train = read_records(Pair, tmp_path / "out" / "train.jsonl")
    held_out = read_records(Pair, tmp_path / "out" / "held-out.jsonl")
    assert len(train) + len(held_out) == 40
    assert 0 < len(held_out) < 20
    report = json.loads((tmp_path / "out" / "prepare.report.json").read_text())
    assert report["input"] == {"d.jsonl": data_hash(path)}
    assert (report["lines"], report["records"], report["bad_lines"]) == (44, 43, 1)
    assert report["dropped"] == {
        "empty answer": 1,
        "equal answers": 1,
        "the same record again": 1,
    }
    assert report["bad_line_examples"][0].startswith(f"{path}:44: broken JSON")
    assert report["written"]["train"] == {"records": len(train), "prompts": len(train)}
    assert report["settings"]["seed"] == 1
    out = capsys.readouterr().out.splitlines()
    assert f"train records: {len(train)}" in out
    assert f"held-out prompts: {len(held_out)}" in out
    assert "dropped: equal answers: 1" in out
    assert "bad lines skipped: 1" in out


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefgh"), st.text(min_size=1, max_size=3)),
        min_size=1,
        max_size=30,
    ),
    st.integers(0, 3),
)
def test_no_prompt_is_in_both_files_and_appending_moves_nothing(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[str, str]], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("split")
    # A prompt of which the train side is certain, so that the command has what to train on.
    lines = [
        pair_line(prompt.upper() if len(noise) % 2 else f" {prompt}!", f"good {noise}")
        for prompt, noise in asked
    ]
    seen: dict[str, str] = {}
    for upto in (max(1, len(lines) // 2), len(lines)):
        path = write_lines(folder / "d.jsonl", *lines[:upto], *CERTAIN[seed])
        run(
            PrepareSettings(input=(path,), output=folder / "out", held_out_share=0.5, seed=seed),
            RunContext("", overwrite=True, show=lambda text: None),
        )
        sides = {
            side: {normalised(line["prompt"]) for line in read_lines(folder / "out" / side)}
            for side in ("train.jsonl", "held-out.jsonl")
        }
        assert not sides["train.jsonl"] & sides["held-out.jsonl"]
        now = {prompt: side for side, prompts in sides.items() for prompt in prompts}
        assert now.items() >= seen.items()
        seen = now


CERTAIN = [[pair_line(f"certain {n}") for n in range(30)] for _ in range(4)]
"""Of thirty prompts some are on each side."""


def test_the_gateways_log_becomes_pairs(tmp_path: Path) -> None:
    write_lines(
        tmp_path / "d.jsonl",
        log_line(
            log_candidate(0, "middling", 0.5),
            log_candidate(1, "best", 2.0),
            log_candidate(2, "worst", -1.0),
        ),
    )
    assert prepare(tmp_path, held_out_share=0.0) == 0
    assert read_lines(tmp_path / "out" / "train.jsonl") == [
        {
            "prompt": [user("hi")],
            "chosen": [{"role": "assistant", "content": "best"}],
            "rejected": [{"role": "assistant", "content": "worst"}],
            "margin": 3.0,
        }
    ]
    assert not (tmp_path / "out" / "held-out.jsonl").exists()
    assert (
        prepare(tmp_path, "--set", "pairs=all", "--set", "min_margin=1.5", held_out_share=0.0) == 0
    )
    texts = [
        (line["chosen"][0]["content"], line["rejected"][0]["content"])
        for line in read_lines(tmp_path / "out" / "train.jsonl")
    ]
    assert texts == [("best", "middling"), ("middling", "worst"), ("best", "worst")] or sorted(
        texts
    ) == [("best", "middling"), ("best", "worst"), ("middling", "worst")]


def test_several_files_of_several_formats(tmp_path: Path) -> None:
    first = write_lines(tmp_path / "a.jsonl", pair_line("one"))
    second = write_lines(
        tmp_path / "b.jsonl",
        {"prompt": "two", "answer": "x", "score": 1},
        {"prompt": "two", "answer": "y", "score": 3},
    )
    assert (
        prepare(tmp_path, input=[str(first), str(second)], held_out_share=0, form="listwise") == 0
    )
    lines = read_lines(tmp_path / "out" / "train.jsonl")
    assert [[c["score"] for c in line["candidates"]] for line in lines] == [[1.0, 0.0], [1.0, 3.0]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"format": "csv"}, "prepare.yaml: format: should be 'auto', "),
        ({"input": []}, "prepare.yaml: input: at least one file is expected"),
        ({"max_chars": 3}, "d.jsonl: no usable record: 1 over the length limit"),
        ({"held_out_share": 1.0}, "held_out_share 1 leaves no prompt to train on; there are 1"),
        ({"format": "pointwise"}, "d.jsonl:1: completion: missing"),
        ({"form": "pointwise"}, "no usable record: 1 pair, which has no scores"),
        ({"form": "listwise", "layout": "conversations"}, "layout: only pairs can be written"),
        ({"step_margins": {"better": 1}}, "step_margins: a number for each of significantly"),
    ],
)
def test_mistakes_are_one_line_and_leave_older_files_alone(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, Any],
    message: str,
) -> None:
    write_lines(tmp_path / "d.jsonl", pair_line("hi"))
    older = tmp_path / "out" / "train.jsonl"
    older.parent.mkdir()
    older.write_text("older\n")
    assert prepare(tmp_path, **settings) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert error[0].startswith("bon-train: ")
    assert message in error[0]
    assert older.read_text() == "older\n"
    assert list((tmp_path / "out").iterdir()) == [older]


def test_a_bad_line_stops_the_run_unless_told_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_lines(tmp_path / "d.jsonl", pair_line("hi"), {"prompt": "hi", "chosen": "a"})
    assert prepare(tmp_path, held_out_share=0) == 2
    assert capsys.readouterr().err == f"bon-train: {path}:2: rejected: missing\n"
    assert not (tmp_path / "out" / "train.jsonl").exists()


def test_pairs_as_conversations_are_read_as_the_same_pairs(tmp_path: Path) -> None:
    lines = [pair_line("one") | {"margin": 2.0}, pair_line("two")]
    write_lines(tmp_path / "d.jsonl", *lines)
    assert prepare(tmp_path, held_out_share=0) == 0
    canonical = read_lines(tmp_path / "out" / "train.jsonl")
    assert prepare(tmp_path, held_out_share=0, layout="conversations") == 0
    written = tmp_path / "out" / "train.jsonl"
    assert read_lines(written)[0] == {
        "chosen": [user("one"), bot("good")],
        "rejected": [user("one"), bot("bad")],
        "margin": 2.0,
    }
    assert prepare(tmp_path, input=str(written), output=str(tmp_path / "b"), held_out_share=0) == 0
    assert read_lines(tmp_path / "b" / "train.jsonl") == canonical


def test_an_input_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_lines(tmp_path / "train.jsonl", pair_line("hi"))
    before = path.read_bytes()
    assert prepare(tmp_path, input=str(path), output=str(tmp_path / "."), held_out_share=0) == 2
    assert "is an input, and would be overwritten" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_a_dry_run_shows_a_record_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_lines(tmp_path / "d.jsonl", pair_line("hi"), pair_line("ho", "same", "same"))
    assert prepare(tmp_path, "--dry-run") == 0
    out = capsys.readouterr().out
    shown, _, counts = out.partition("\n}\n")
    assert json.loads(shown + "}")["chosen"] == [{"role": "assistant", "content": "good"}]
    assert counts == "lines read: 2\ndropped: equal answers: 1\nrecords to write: 1\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "settings", [{"max_chars": 3}, {"held_out_share": 1.0}, {"form": "pointwise"}]
)
def test_a_dry_run_fails_where_the_run_would(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: dict[str, Any]
) -> None:
    write_lines(tmp_path / "d.jsonl", pair_line("hi"))
    assert prepare(tmp_path, **settings) == 2
    expected = capsys.readouterr().err
    assert prepare(tmp_path, "--dry-run", **settings) == 2
    assert capsys.readouterr().err == expected


def test_contradicting_pairs_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [pair_line("hi"), pair_line("hi", "bad", "good"), pair_line("ho", "bad", "good")]
    write_lines(tmp_path / "d.jsonl", *lines)
    assert prepare(tmp_path, held_out_share=0) == 0
    noted = "pairs whose answers another pair has the other way round: 1"
    assert noted in capsys.readouterr().out.splitlines()


def test_fields_that_were_not_read_are_on_the_terminal_and_in_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_lines(tmp_path / "d.jsonl", pair_line("hi") | {"meta": 1, "id": 2})
    flags = ("--set", "ignore_fields=[id]")
    assert prepare(tmp_path, *flags, held_out_share=0) == 0
    assert "not read: meta (in d.jsonl): 1" in capsys.readouterr().out.splitlines()
    report = json.loads((tmp_path / "out" / "prepare.report.json").read_text())
    assert report["fields_not_read"] == {path.name: {"meta": 1}}


def test_foreign_names_are_a_setting(tmp_path: Path) -> None:
    line = {"question": "hi", "answers": {"best": "good", "worst": "bad"}}
    write_lines(tmp_path / "d.jsonl", line)
    names = {"prompt": "question", "chosen": "answers.best", "rejected": "answers.worst"}
    assert prepare(tmp_path, held_out_share=0, fields=names) == 0
    [written] = read_lines(tmp_path / "out" / "train.jsonl")
    assert written == {"prompt": [user("hi")], "chosen": [bot("good")], "rejected": [bot("bad")]}


def test_metadata_is_kept_and_makes_no_other_record(tmp_path: Path) -> None:
    lines = [pair_line("p") | {"metadata": {"id": n}} for n in range(2)]
    write_lines(tmp_path / "d.jsonl", *lines, pair_line("q") | {"metadata": "text"})
    for layout in ("canonical", "conversations"):
        assert prepare(tmp_path, held_out_share=0, layout=layout) == 0
        first, second = read_lines(tmp_path / "out" / "train.jsonl")
        assert first["metadata"] == {"id": 0}
        assert "metadata" not in second
    report = json.loads((tmp_path / "out" / "prepare.report.json").read_text())
    assert report["dropped"] == {DUPLICATE: 1}
    assert report["fields_not_read"] == {"d.jsonl": {"metadata": 1}}
    assert prepare(tmp_path, held_out_share=0, ignore_fields=["metadata"]) == 0
    assert "metadata" not in read_lines(tmp_path / "out" / "train.jsonl")[0]
    report = json.loads((tmp_path / "out" / "prepare.report.json").read_text())
    assert report["fields_not_read"] == {}
