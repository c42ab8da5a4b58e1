"""The commands that `next:` names work when they are pasted, beside the files of `init`."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.trainers.preferences.helpers import write_lines
from trainers.cli import main

LABELLER = "labeller={type: regex, patterns: [{pattern: please, score: 0.5}]}"


def next_commands(out: str) -> list[list[str]]:
    block = out.partition("\nnext:  ")[2].splitlines()
    return [shlex.split(line)[1:] for line in block if line.strip().startswith("bon-train ")]


@pytest.mark.parametrize(("prompts", "held_out"), [(60, True), (1, False)])
def test_from_answers_to_training_files(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    prompts: int,
    held_out: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    candidates = [{"answer": "no"}, {"answer": "yes, please"}]
    lines = ({"prompt": f"bike {n}?", "candidates": candidates} for n in range(prompts))
    write_lines(tmp_path / "answers.jsonl", *lines)
    assert main(["init", "prepare", "--runs", "runs/shop"]) == 0
    label = ["--set", "input=answers.jsonl", "--set", "output=labelled.jsonl", "--set", LABELLER]
    capsys.readouterr()
    assert main(["label", *label]) == 0
    (then,) = next_commands(capsys.readouterr().out)
    assert main(then) == 0
    out = capsys.readouterr().out
    train, rest = Path("runs/shop/data/train.jsonl"), Path("runs/shop/data/held-out.jsonl")
    assert len(train.read_text().splitlines()) > prompts / 2
    assert rest.exists() == held_out
    assert ("holds out none of 1 prompts" in out) == (not held_out)
    reward, dpo = next_commands(out)
    value = rest if held_out else "null"
    assert f"train={train}" in reward
    assert f"eval_pairs={value}" in reward
    assert f"eval_prompts={value}" in dpo
