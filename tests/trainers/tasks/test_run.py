"""`bon-train tasks`, and what uses its prompts: the function `gold`, and the labeller."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.preferences.helpers import read_lines, user, write_lines
from tests.trainers.preferences.labelling import label, texts_of
from trainers.base.data import Message
from trainers.base.errors import DataError
from trainers.cli import main
from trainers.rewards.gold import GoldSettings, load_gold
from trainers.tasks.catalogue import catalogue

FUNCTION = "trainers.tasks.gold:correct"


def tasks(folder: Path, *flags: str) -> int:
    return main(["tasks", "--set", f"output={folder}", *flags])


def asked(text: str) -> list[Message]:
    return [Message(role="system", content="Be brief."), Message(role="user", content=text)]


def test_both_files_hold_every_prompt_once(tmp_path: Path) -> None:
    assert tasks(tmp_path) == 0
    train, held = read_lines(tmp_path / "train.jsonl"), read_lines(tmp_path / "held-out.jsonl")
    both = [line["prompt"] for line in (*train, *held)]
    assert len(set(both)) == len(both) == len(catalogue())
    assert len({line["task"] for line in train[:300]}) > 15
    assert tasks(tmp_path, "--overwrite") == 0
    assert read_lines(tmp_path / "train.jsonl") == train


def test_some_tasks_are_chosen_and_an_unknown_one_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tasks(tmp_path, "--set", "only=[capitals, sums]") == 0
    lines = read_lines(tmp_path / "train.jsonl")
    assert {line["task"] for line in lines} == {"capitals", "sums"}
    assert tasks(tmp_path / "other", "--set", "only=[riddles]") == 2
    assert "only: there is no task 'riddles'; there are sums, " in capsys.readouterr().err


def test_tasks_are_balanced_and_fewer_prompts_are_a_part_of_more(tmp_path: Path) -> None:
    assert tasks(tmp_path / "all") == 0
    limits = ("--set", "per_task.train=7", "--set", "per_task.held_out=3")
    assert tasks(tmp_path / "some", *limits) == 0
    for name, most in (("train", 7), ("held-out", 3)):
        everything = read_lines(tmp_path / "all" / f"{name}.jsonl")
        seen = Counter[str]()
        wanted = []
        for line in everything:
            seen[line["task"]] += 1
            if seen[line["task"]] <= most:
                wanted.append(line)
        assert read_lines(tmp_path / "some" / f"{name}.jsonl") == wanted
        assert len(wanted) == most * len(seen)
    assert tasks(tmp_path / "none", "--set", "per_task.train=0") == 2


def test_examples_are_right_answers_to_training_prompts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tasks(tmp_path, "--set", "examples=5", "--set", "per_task.train=9") == 0
    assert "examples" in capsys.readouterr().out
    lines = read_lines(tmp_path / "examples.jsonl")
    train = {line["prompt"]: line["task"] for line in read_lines(tmp_path / "train.jsonl")}
    said = [[turn["content"] for turn in line["messages"]] for line in lines]
    assert [[turn["role"] for turn in line["messages"]] for line in lines] == [
        ["user", "assistant"] for _ in lines
    ]
    assert all(catalogue()[prompt].problem.check(answer) for prompt, answer in said)
    counts = Counter(train[prompt] for prompt, _ in said)
    assert set(counts.values()) == {5}
    assert set(counts) == set(train.values()) - {"languages"}
    assert tasks(tmp_path, "--set", "examples=5") == 2, "the files are there"


def test_a_dry_run_counts_what_the_limits_leave(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = ("--set", "per_task.train=7", "--set", "examples=2")
    assert tasks(tmp_path / "out", "--set", "only=[capitals]", *limits, "--dry-run") == 0
    out = capsys.readouterr().out
    assert next(line for line in out.splitlines() if line.startswith("capitals")).split()[1] == "7"
    assert not (tmp_path / "out").exists()


def test_a_dry_run_lists_the_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tasks(tmp_path / "out", "--dry-run") == 0
    assert "capitals " in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_gold_knows_the_prompts_and_no_others(tmp_path: Path) -> None:
    gold = load_gold(GoldSettings(function=FUNCTION))
    question = "What is the capital of France?"
    assert gold(asked(question), "It is Paris.") == 1.0
    assert gold(asked(question), "Lyon") == 0.0
    with pytest.raises(DataError, match="gold: no task has the prompt 'How are you"):
        gold(asked("How are you?"), "Fine.")


def test_gold_knows_gsm8k_by_its_file(tmp_path: Path) -> None:
    line = {"question": "Four and four more apples?", "answer": "4 + 4 = 8\n#### 8"}
    path = write_lines(tmp_path / "gsm8k-published.jsonl", line)
    assert tasks(tmp_path / "out", "--set", f"gsm8k={path}", "--set", "only=[capitals]") == 0
    [written] = read_lines(tmp_path / "out" / "gsm8k.jsonl")
    gold = load_gold(GoldSettings(function=FUNCTION, file=str(path)))
    assert gold(asked(written["prompt"]), "4 + 4 = 8, so the answer is 8.") == 1.0
    assert gold(asked(written["prompt"]), "9") == 0.0
    assert gold(asked("What is the capital of France?"), "Paris") == 1.0


def test_labelled_by_the_truth(tmp_path: Path) -> None:
    texts = {
        "What is the capital of France?": ("Lyon", "Paris", "Paris or Lyon"),
        "What is double 7?": ("14", "fourteen", "It is 14."),
    }
    lines: list[dict[str, Any]] = [
        {
            "prompt": [user(prompt)],
            "candidates": [{"answer": [{"role": "assistant", "content": t}]} for t in answers],
        }
        for prompt, answers in texts.items()
    ]
    write_lines(tmp_path / "answers.jsonl", *lines)
    gold = {"type": "gold", "gold": {"function": FUNCTION}}
    assert label(tmp_path, gold, pairs="all") == 0
    assert texts_of(tmp_path / "out.jsonl") == [("Paris", "Lyon"), ("Paris", "Paris or Lyon")]
    dropped = json.loads((tmp_path / "out.report.json").read_text())["dropped"]
    assert dropped == {"ties": 4}
