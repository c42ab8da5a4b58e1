"""Foreign formats: what cannot be read is named, what is dropped is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.trainers.preferences.helpers import bot, read, read_lines, user, write_lines
from tests.trainers.preferences.readers.foreign import (
    ASK,
    CHATS,
    FOREIGN,
    PAIR,
    STEER,
    STUDIO,
    TWO,
    picked,
    said,
)
from tests.trainers.preferences.test_prepare import prepare
from trainers.base.errors import DataError

ARGILLA = {"fields": {"prompt": "hi", "response_1": "a", "response_2": "b"}}
BAD: list[tuple[str, dict[str, Any], str]] = [
    (
        "sharegpt",
        {"conversations": [said("human", "hi"), said("narrator", "ho")]},
        "conversations.1.role: unknown role 'narrator'",
    ),
    ("sharegpt", {"conversations": [{"from": 3}]}, "conversations.0.from: text is expected"),
    (
        "sharegpt",
        {"conversations": [said("human", "hi")]},
        "conversations: the last message must be the assistant's",
    ),
    (
        "sharegpt",
        {"conversations": [said("human", "hi"), said("function_call", "add")]},
        "conversations.1.value: the JSON of a function call is expected",
    ),
    (
        "openai_preference",
        {"input": {"messages": [bot("a")]}, "preferred_output": "a", "non_preferred_output": "b"},
        "input.messages: the last message must be the user's, it is the assistant's",
    ),
    (
        "openai_preference",
        {"input": "hi", "preferred_output": "a", "non_preferred_output": "b"},
        "input: an object with messages is expected",
    ),
    (
        "nectar",
        {"prompt": "hi", "answers": [{"answer": "a", "rank": "1"}]},
        "answers.0.rank: a number is expected",
    ),
    ("helpsteer2", {"prompt": "hi", "response": "a"}, "helpfulness: missing"),
    (
        "helpsteer3",
        TWO | {"preference_strength": -100},
        "preference_strength: a number from -3 to 3 is expected",
    ),
    (
        "pku_saferlhf",
        {"prompt": "hi", "response_0": "a", "response_1": "b", "better_response_id": 2},
        "better_response_id: 0 or 1 is expected",
    ),
    (
        "llmbar",
        {"input": "hi", "output_1": "a", "output_2": "b", "label": 0},
        "label: 1 or 2 is expected",
    ),
    ("arena", CHATS | {"winner": "Ann"}, "winner: model_a, model_b or tie is expected"),
    (
        "arena_table",
        {"prompt": ["hi", "ho"], "response_a": ["a"], "response_b": ["b"]}
        | {"winner_model_a": 1, "winner_model_b": 0},
        "response_a: 1 answers for 2 prompts",
    ),
    (
        "argilla",
        ARGILLA | {"responses": {"x": [{"value": "response_1"}], "y": [{"value": "response_2"}]}},
        "responses: several questions judge the answers: x, y",
    ),
    (
        "argilla",
        {"fields": {"prompt": "hi"}, "responses": {}},
        "fields: no answer, such as response or response_1",
    ),
    (
        "label_studio",
        {"data": {"prompt": "hi", "answer1": "a"}, "annotations": []},
        "data: two answers are expected, there are: answer1",
    ),
    (
        "distilabel",
        {"prompt": "hi", "generations": ["a"], "ratings": [1, 2]},
        "ratings: 2 entries for 1 generations",
    ),
    (
        "thumbs",
        {"prompt": "hi", "completion": "a", "label": "good"},
        "label: true or false is expected",
    ),
    (
        "stepwise",
        {"prompt": "hi", "completions": ["a", "b"], "labels": [True, 2]},
        "labels.1: true or false is expected",
    ),
    (
        "stepwise",
        {"prompt": "hi", "completions": [bot("a")], "labels": [True]},
        "completions: the texts of an answer's steps are expected",
    ),
]


@pytest.mark.parametrize(("name", "line", "reason"), BAD)
def test_a_bad_line_is_named(tmp_path: Path, name: str, line: dict[str, Any], reason: str) -> None:
    path = write_lines(tmp_path / "d.jsonl", line)
    with pytest.raises(DataError) as error:
        read(path, format_name=name)
    assert str(error.value) == f"{path}:1: {reason}"


@pytest.mark.parametrize(("name", "line"), [(name, line) for name, line, found in FOREIGN if found])
def test_all_of_a_foreign_line_is_read(tmp_path: Path, name: str, line: dict[str, Any]) -> None:
    path = write_lines(tmp_path / "d.jsonl", line | {"extra": 1})
    _, tally = read(path)
    unread = set(tally.unread[path])
    assert unread - {"responses.why"} == {"extra"}


def test_what_nobody_judged_and_what_parts_early_is_counted(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = [
        ARGILLA | {"responses": {}},
        ARGILLA | {"responses": {"better": [{"value": "response_1", "status": "draft"}]}},
    ]
    _, tally = read(write_lines(tmp_path / "d.jsonl", *lines))
    assert tally.dropped == {"records that nobody has judged": 2}
    line = {
        "conversation_a": [*ASK, bot("a"), user("and?"), bot("x")],
        "conversation_b": [*ASK, bot("b"), user("and?"), bot("y")],
    } | {"winner": "model_a", "turn": 2}
    _, tally = read(write_lines(tmp_path / "d.jsonl", line, CHATS | {"winner": "tie"}))
    assert tally.dropped == {"the two conversations differ before their last answers": 1, "ties": 1}


def test_thumbs_up_and_down_of_one_prompt_are_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    thumbs = [("hi", "good", True), ("hi", "bad", False), ("ho", "alone", True)]
    lines = [dict(zip(("prompt", "completion", "label"), one, strict=True)) for one in thumbs]
    write_lines(tmp_path / "d.jsonl", *lines)
    assert prepare(tmp_path, held_out_share=0) == 0
    [written] = read_lines(tmp_path / "out" / "train.jsonl")
    assert (written["chosen"], written["rejected"]) == ([bot("good")], [bot("bad")])
    assert "dropped: fewer than two scored answers: 1" in capsys.readouterr().out.splitlines()
    assert prepare(tmp_path, held_out_share=0, form="pointwise") == 0
    scores = [line["score"] for line in read_lines(tmp_path / "out" / "train.jsonl")]
    assert scores == [1.0, 0.0, 1.0]


def test_thumbs_that_no_pair_takes_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten records: six in three pairs, and four that are named."""
    thumbs = [
        *[("hi", "good", True), ("hi", "fine", True), ("hi", "bad", False)],
        *[("ho", "good", True), ("ho", "bad", False)],
        *[("he", "good", True), ("he", "fine", True), ("he", "bad", False), ("he", "no", False)],
        ("ha", "alone", True),
    ]
    lines = [dict(zip(("prompt", "completion", "label"), one, strict=True)) for one in thumbs]
    write_lines(tmp_path / "d.jsonl", *lines)
    assert prepare(tmp_path, held_out_share=0) == 0
    assert len(read_lines(tmp_path / "out" / "train.jsonl")) == 3
    shown = capsys.readouterr().out.splitlines()
    assert "dropped: fewer than two scored answers: 1" in shown
    assert "dropped: scored record beside the best and the worst of its prompt: 3" in shown
    assert prepare(tmp_path, held_out_share=0, pairs="all") == 0
    assert "beside the best" not in capsys.readouterr().out


def test_a_table_of_thumbs(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("prompt,completion,label\nhi,a,True\nhi,b,false\nhi,c,1\n")
    found, tally = read(path)
    assert [getattr(one, "score", None) for one in found] == [1.0, 0.0, 1.0]
    assert tally.unread == {}


def test_scores_beside_dimensions_are_kept(tmp_path: Path) -> None:
    [found], _ = read(write_lines(tmp_path / "d.jsonl", {"prompt": "q", "response": "a"} | STEER))
    again, _ = read(write_lines(tmp_path / "e.jsonl", found.as_json()))
    assert again == [found]


def test_labels_of_a_studio_become_pairs(tmp_path: Path) -> None:
    line = {"data": STUDIO, "annotations": picked("left")}
    write_lines(tmp_path / "d.jsonl", line)
    assert prepare(tmp_path, held_out_share=0) == 0
    assert read_lines(tmp_path / "out" / "train.jsonl") == [PAIR.as_json()]


def test_tools_of_openais_form_are_read(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    line = {
        "input": {"messages": ASK, "tools": tools, "parallel_tool_calls": True},
        "preferred_output": [bot("good")],
        "non_preferred_output": [bot("bad")],
    }
    path = write_lines(tmp_path / "d.jsonl", line)
    [found], tally = read(path)
    assert list(found.inputs.tools) == tools
    assert tally.unread == {path: {"input.parallel_tool_calls": 1}}
