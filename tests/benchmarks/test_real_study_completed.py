"""Lists without a right answer get one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.real_study import module

completed = module("completed")
read_lines = module("pools").read_lines

SUM = "What is 18 + 7?"


def collected(*texts: str) -> dict[str, Any]:
    answers = [
        {"answer": [{"role": "assistant", "content": text}], "policy": "sft"} for text in texts
    ]
    return {"prompt": [{"role": "user", "content": SUM}], "candidates": answers}


def texts_of(line: dict[str, Any]) -> list[str]:
    return [one["answer"][-1]["content"] for one in line["candidates"]]


@pytest.mark.parametrize(
    ("drawn", "after"),
    [
        pytest.param(["41", "43"], ["41", "43", "25"], id="none is right"),
        pytest.param(["41", "25"], ["41", "25"], id="one is right"),
    ],
)
def test_a_right_answer_is_added_where_there_is_none(drawn: list[str], after: list[str]) -> None:
    [line] = completed.completed(iter([collected(*drawn)]), {SUM: "25"})
    assert texts_of(line) == after


def test_a_prompt_without_an_example_stays_as_it_is() -> None:
    line = collected("41")
    assert list(completed.completed(iter([line]), {})) == [line]


def test_as_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [{"role": "user", "content": SUM}, {"role": "assistant", "content": "25"}]
    (tmp_path / "examples.jsonl").write_text(json.dumps({"messages": asked}) + "\n")
    lines = [collected("41"), collected("25")]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    files = {"--input": "in", "--examples": "examples", "--output": "out"}
    flags = [
        part for flag, name in files.items() for part in (flag, str(tmp_path / f"{name}.jsonl"))
    ]
    monkeypatch.setattr("sys.argv", ["completed", *flags])
    completed.main()
    assert capsys.readouterr().out == "1 of 2 lists got a right answer\n"
    assert [texts_of(line) for line in read_lines(tmp_path / "out.jsonl")] == [["41", "25"], ["25"]]
