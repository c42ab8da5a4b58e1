"""Columns of a trainer's own files: part of the prompt, or named with their count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.preferences.helpers import bot, read, user, write_lines
from trainers.base.bad_lines import BadLines
from trainers.base.data import Demonstration, Pair, PromptRecord, read_placed
from trainers.base.errors import DataError
from trainers.reward.records import Ranking
from trainers.rewards.pairs import SectionPair

PAIR: dict[str, Any] = {"prompt": [user("q")], "chosen": [bot("a")], "rejected": [bot("b")]}
SHOWN: dict[str, Any] = {"messages": [user("q"), bot("a")]}


@pytest.mark.parametrize(
    ("kind", "line"), [(Pair, PAIR), (Demonstration, SHOWN), (PromptRecord, {"prompt": "q"})]
)
@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"system": "S"}, "system: part of the prompt; bon-train prepare puts it there"),
        ({"system_prompt": "S"}, "system_prompt: part of the prompt; bon-train prepare puts"),
        ({"history": [["q", "a"]]}, "history: part of the prompt; bon-train prepare puts it"),
        ({"images": ["a.png"]}, "images: only text can be learnt from"),
    ],
)
def test_what_is_part_of_a_prompt_is_not_left_out(
    tmp_path: Path, kind: Any, line: dict[str, Any], more: dict[str, Any], reason: str
) -> None:
    path = write_lines(tmp_path / "d.jsonl", line, line | more)
    with pytest.raises(DataError) as error:
        read_placed(kind, path)
    assert str(error.value).startswith(f"{path}:2: {reason}")
    bad = BadLines(skip=True)
    assert len(read_placed(kind, path, bad)) == 1
    assert bad.count == 1


def test_other_fields_are_counted(tmp_path: Path) -> None:
    more: dict[str, Any] = {
        "id": 1,
        "none": None,
        "tools": [],
        "chat_template_kwargs": {"a": 1},
        "section": "S",
    }
    path = write_lines(tmp_path / "d.jsonl", PAIR | more, PAIR | {"id": 2, "margin": 1, "x\n": 1})
    bad = BadLines()
    read_placed(Pair, path, bad)
    name = "records with a field that is not read"
    assert bad.figures() == {f"{name}: id": 2, f"{name}: section": 1, f"{name}: x": 1}
    bad = BadLines()
    read_placed(SectionPair, path, bad)
    assert f"{name}: section" not in bad.figures()
    write_lines(path, PAIR | {f"key {n}": 1 for n in range(30)})
    bad = BadLines()
    read_placed(Pair, path, bad)
    assert bad.figures()[f"{name}: further fields"] == 10


def test_fields_of_messages_are_counted(tmp_path: Path) -> None:
    """`weight: 0`, for example, says elsewhere that a turn is not to be learnt."""
    turns: list[Any] = [user("q"), {**bot("a"), "weight": 0, "x\n": None, "reasoning": "r"}]
    path = write_lines(tmp_path / "d.jsonl", {"messages": [*turns, *turns]})
    bad = BadLines()
    [(_, shown)] = read_placed(Demonstration, path, bad)
    assert shown.messages[1] == {**bot("a"), "reasoning_content": "r"}
    name = "records with a field that is not read"
    assert bad.figures() == {f"{name}: messages.weight": 1}
    listed = [{"answer": [bot(text) | {"id": 1}], "score": n} for n, text in enumerate("ab")]
    bad = BadLines()
    read_placed(Ranking, write_lines(path, {"prompt": "q", "candidates": listed}), bad)
    assert bad.figures() == {f"{name}: candidates.answer.id": 1}


def test_an_image_in_a_message_is_refused(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", PAIR | {"prompt": [user("q") | {"images": ["a.png"]}]})
    for read_them in (lambda: read_placed(Pair, path), lambda: read(path)):
        with pytest.raises(DataError) as error:
            read_them()
        assert str(error.value) == f"{path}:1: prompt.0.images: only text can be learnt from"


@pytest.mark.parametrize("kind", [PromptRecord, Pair])
def test_a_prompt_may_be_a_text(tmp_path: Path, kind: Any) -> None:
    path = write_lines(tmp_path / "d.jsonl", PAIR | {"prompt": "q"})
    [(_, record)] = read_placed(kind, path)
    assert record.prompt == [user("q")]


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("<|im_start|>user\nq<|im_end|>", "is rendered with a chat template already"),
        ("\n\nHuman: q\n\nAssistant:", "a transcript of several turns; bon-train prepare reads it"),
    ],
)
def test_a_text_of_several_turns_is_no_prompt(tmp_path: Path, prompt: str, reason: str) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps({"prompt": prompt}))
    with pytest.raises(DataError) as error:
        read_placed(PromptRecord, path)
    assert str(error.value).startswith(f"{path}:1: prompt: {reason}")
