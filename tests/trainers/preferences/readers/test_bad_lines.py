"""Each malformed line is named by file, line and reason; or counted, where lines are skipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.preferences.helpers import bot, log_candidate, log_line, read, user, write_lines
from trainers.base.errors import DataError

HI = [user("hi")]
DEEP = "[" * 100_000
HALF_CHARACTERS: tuple[dict[str, Any], ...] = (
    {"tools": [{"type": "function", "function": {"name": "\ud800"}}]},
    {"chat_template_kwargs": {"a": "\ud800"}},
    {"subset": "\ud800"},
    {"preferences": {"\ud800": 1}},
)
BAD_CALLS: tuple[tuple[dict[str, Any], str], ...] = (
    ({"x": 1}, "name: missing"),
    ({"function": {"name": 5}}, "name: missing"),
    ({"function": "f"}, "name: missing"),
    ({"function": {"name": "f", "arguments": [1]}}, "arguments: text or an object is expected"),
)
BAD: list[tuple[str, str | dict[str, Any], str]] = [
    (
        "canonical",
        "{",
        "broken JSON: Expecting property name enclosed in double quotes at column 2",
    ),
    ("canonical", "nonsense", "broken JSON: Expecting value at column 1"),
    ("canonical", DEEP, "broken JSON: nested too deeply"),
    ("canonical", '{"margin": NaN}', "broken JSON: NaN is no JSON number"),
    (
        "canonical",
        '{"prompt": "\\ud800", "chosen": "a", "rejected": "b"}',
        "prompt: half a surrogate pair",
    ),
    (
        "canonical",
        '{"prompt": "hi", "chosen": "\\ude00", "rejected": "b"}',
        "chosen: half a surrogate pair",
    ),
    (
        "canonical",
        (
            '{"prompt": "hi", "chosen": [{"role": "assistant", "content": [{"text": "\\ud800"}]}], '
            '"rejected": "b"}'
        ),
        "chosen.0.content: half a surrogate pair",
    ),
    (
        "canonical",
        (
            '{"prompt": "hi", "chosen": {"role": "assistant", "tool_calls": [{"id": "\\ud800"}]}, '
            '"rejected": "b"}'
        ),
        "chosen.0.tool_calls: half a surrogate pair",
    ),
    *(
        (
            "canonical",
            {"prompt": "hi", "chosen": "a", "rejected": "b", **more},
            f"{next(iter(more))}: half a surrogate pair",
        )
        for more in HALF_CHARACTERS
    ),
    (
        "listwise",
        {"prompt": "hi", "candidates": [{"answer": "a", "policy": "\ud800"}, {"answer": "b"}]},
        "candidates: half a surrogate pair",
    ),
    (
        "canonical",
        {"prompt": "hi", "chosen": "a", "rejected": "b", "tools": '[{"name": "f", "x": NaN}]'},
        "tools: broken JSON",
    ),
    (
        "canonical",
        '{"prompt": "hi", "prompt": "ho", "chosen": "a", "rejected": "b"}',
        "broken JSON: the key 'prompt' is there twice",
    ),
    (
        "canonical",
        '{"prompt": "hi", "chosen": [{"role": "assistant", "content": "a", "content": "b"}]}',
        "broken JSON: the key 'content' is there twice",
    ),
    *(
        (
            "canonical",
            {"prompt": "hi", "chosen": {"role": "assistant", "tool_calls": [call]}, "rejected": ""},
            f"chosen.0.tool_calls.0.function.{reason}",
        )
        for call, reason in BAD_CALLS
    ),
    ("canonical", "[1]", "a JSON object is expected"),
    ("canonical", {"chosen": "a", "rejected": "b"}, "prompt: missing"),
    ("canonical", {"prompt": "hi", "rejected": "b"}, "chosen: missing"),
    ("canonical", {"prompt": "hi", "chosen": "a"}, "rejected: missing"),
    ("canonical", {"prompt": "hi", "chosen": None, "rejected": "b"}, "chosen: missing"),
    (
        "canonical",
        {"prompt": 3, "chosen": "a", "rejected": "b"},
        "prompt: text or a list of messages is expected",
    ),
    ("canonical", {"prompt": [], "chosen": "a", "rejected": "b"}, "prompt: no messages"),
    (
        "canonical",
        {"prompt": ["hi"], "chosen": "a", "rejected": "b"},
        "prompt.0: a message with role and content is expected",
    ),
    (
        "canonical",
        {"prompt": [{"content": "hi"}], "chosen": "a", "rejected": "b"},
        "prompt.0.role: missing",
    ),
    (
        "canonical",
        {"prompt": [{"role": "human", "content": "hi"}], "chosen": "a", "rejected": "b"},
        "prompt.0.role: unknown role 'human'",
    ),
    (
        "canonical",
        {"prompt": [{"role": "user"}], "chosen": "a", "rejected": "b"},
        "prompt.0.content: missing",
    ),
    (
        "canonical",
        {
            "prompt": [{"role": "user", "content": [{"type": "image_url"}]}],
            "chosen": "a",
            "rejected": "b",
        },
        "prompt.0.content: only text can be learnt from",
    ),
    (
        "canonical",
        {"prompt": [*HI, bot("yes")], "chosen": "a", "rejected": "b"},
        "prompt: the last message must be the user's, it is the assistant's",
    ),
    (
        "canonical",
        {"prompt": "hi", "chosen": [user("a")], "rejected": "b"},
        "chosen.0.role: an answer is the assistant's, this is the user's",
    ),
    (
        "canonical",
        {"prompt": "hi", "chosen": "a", "rejected": [bot("b"), {"role": "tool", "content": "c"}]},
        "rejected.1.role: an answer is the assistant's, this is the tool's",
    ),
    (
        "canonical",
        {"prompt": "hi", "chosen": {"role": "assistant", "tool_calls": ["f"]}, "rejected": "b"},
        "chosen.0.tool_calls: a list of objects is expected",
    ),
    (
        "canonical",
        {"prompt": "hi", "chosen": "a", "rejected": "b", "margin": "much"},
        "margin: a number is expected",
    ),
    (
        "canonical",
        {"prompt": "hi", "chosen": "a", "rejected": "b", "margin": True},
        "margin: a number is expected",
    ),
    (
        "canonical",
        '{"prompt": "hi", "chosen": "a", "rejected": "b", "margin": 1e999}',
        "margin: a finite number is expected",
    ),
    (
        "canonical",
        {"prompt": "hi", "chosen": "a", "rejected": "b", "margin": 10**400},
        "margin: a finite number is expected",
    ),
    (
        "canonical",
        {"prompt": "hi", "chosen": "a", "rejected": "b", "preferences": {"kind": 2}},
        "preferences.kind: -1, 0 or 1 is expected",
    ),
    (
        "canonical",
        {"prompt": "hi", "chosen": "a", "rejected": "b", "preferences": [1]},
        "preferences: a number for each dimension is expected",
    ),
    (
        "implicit",
        {"chosen": [*HI, bot("a")], "rejected": HI},
        "rejected: the last message must be the assistant's, it is the user's",
    ),
    (
        "implicit",
        {"chosen": [*HI, bot("a")], "rejected": [user("ho"), bot("a")]},
        "chosen and rejected do not begin with the same prompt",
    ),
    (
        "hh",
        {"chosen": "Human: hi", "rejected": "\n\nHuman: hi\n\nAssistant: b"},
        "chosen: a transcript begins with a blank line and 'Human:'",
    ),
    (
        "hh",
        {"chosen": "\n\nAssistant: a", "rejected": "\n\nHuman: hi\n\nAssistant: b"},
        "chosen: a transcript begins with a blank line and 'Human:'",
    ),
    (
        "hh",
        {"chosen": "\n\nHuman: hi\n\nAssistant: a", "rejected": "\n\nHuman: hi"},
        "rejected: the last message must be the assistant's, it is the user's",
    ),
    ("hh", {"chosen": 1, "rejected": "\n\nHuman: hi"}, "chosen: text is expected"),
    ("ultrafeedback", {"instruction": "hi"}, "completions: missing"),
    ("ultrafeedback", {"instruction": "hi", "completions": []}, "completions: the list is empty"),
    (
        "ultrafeedback",
        {"instruction": "hi", "completions": ["a"]},
        "completions.0: an object is expected",
    ),
    (
        "ultrafeedback",
        {"instruction": "hi", "completions": [{"overall_score": 1}]},
        "completions.0.response: missing",
    ),
    (
        "ultrafeedback",
        {"instruction": "hi", "completions": [{"response": "a", "overall_score": "7"}]},
        "completions.0.overall_score: a number is expected",
    ),
    ("pointwise", {"prompt": "hi", "score": 1}, "completion: missing"),
    ("pointwise", {"prompt": "hi", "answer": "a"}, "score: missing"),
    (
        "pointwise",
        {"prompt": "hi", "answer": "a", "scores": {"kind": "1"}},
        "scores.kind: a number is expected",
    ),
    ("listwise", {"prompt": "hi"}, "candidates: missing"),
    ("listwise", {"prompt": "hi", "candidates": "a"}, "candidates: a list is expected"),
    ("listwise", {"prompt": "hi", "candidates": ["a"]}, "candidates.0: an object is expected"),
    ("listwise", {"prompt": "hi", "candidates": [{"score": 1}]}, "candidates.0.answer: missing"),
    (
        "listwise",
        {"prompt": "hi", "candidates": [{"answer": "a", "rank": 1}, {"answer": "b"}]},
        "candidates.1.rank: missing, though other candidates have one",
    ),
    (
        "listwise",
        {"prompt": "hi", "candidates": [{"answer": "a", "score": []}]},
        "candidates.0.score: a number is expected",
    ),
    (
        "listwise",
        {"prompt": "hi", "candidates": [{"answer": "a"}], "reference": 3},
        "reference: a text or a list of texts is expected",
    ),
    (
        "ranking",
        {"prompt": "hi", "answers": ["a", "b"], "ranks": [1]},
        "ranks: 1 entries for 2 answers",
    ),
    ("ranking", {"prompt": "hi", "answers": ["a", "b"]}, "ranks: missing"),
    (
        "ranking",
        {"prompt": "hi", "answers": ["a"], "scores": [None]},
        "scores.0: a number is expected",
    ),
    ("logged", {"prompt": "hi"}, "completion: missing"),
    ("logged", {"messages": HI}, "messages: the last message must be the assistant's"),
    ("logged", {"messages": [bot("a")]}, "messages: no messages"),
    ("rewrite", {"prompt": "hi", "rewrite": "a"}, "answer: missing"),
    ("rewrite", {"rewrite": "a", "answer": "b"}, "messages: missing"),
    (
        "steps",
        {"prompt": "hi", "first": "a", "second": "b", "preference": "nicer"},
        "preference: 'nicer' is no step of the scale",
    ),
    (
        "rewardbench2",
        {"prompt": "hi", "chosen": ["a"], "rejected": []},
        "rejected: the list is empty",
    ),
    (
        "rewardbench2",
        {"prompt": "hi", "chosen": ["a"], "rejected": ["b"], "total_completions": 4},
        "total_completions: 4, but there are 2",
    ),
    ("candidate_log", log_line(v=2), "v: version 1 of the candidate log is expected"),
    ("candidate_log", log_line(log_candidate(0, "a", 1.0), messages=None), "messages: missing"),
    ("candidate_log", log_line(candidates="x"), "candidates: a list is expected"),
    ("candidate_log", log_line(candidates=["x"]), "candidates.0: an object is expected"),
    (
        "candidate_log",
        log_line(log_candidate(0, "a", 0.0) | {"reward": "high"}),
        "candidates.0.reward: a number is expected",
    ),
    (
        "candidate_log",
        log_line(log_candidate(0, "a", 1.0, message=user("a"))),
        "candidates.0.message.0.role: an answer is the assistant's, this is the user's",
    ),
]


@pytest.mark.parametrize(
    ("name", "line", "reason"), BAD, ids=[f"{n}-{reason[:40]}" for n, _, reason in BAD]
)
def test_a_bad_line_is_named_or_counted(
    tmp_path: Path, name: str, line: str | dict[str, Any], reason: str
) -> None:
    path = write_lines(tmp_path / "d.jsonl", "", line)
    with pytest.raises(DataError) as error:
        read(path, format_name=name)
    assert str(error.value) == f"{path}:2: {reason}"
    found, tally = read(path, format_name=name, skip_bad=True)
    assert found == []
    assert (tally.lines, tally.records, tally.bad) == (1, 0, 1)
    assert tally.bad_lines == [f"{path}:2: {reason}"]


def test_the_report_spells_out_the_first_bad_lines_and_counts_all(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", *["{"] * 30)
    _, tally = read(path, skip_bad=True, format_name="canonical")
    assert tally.bad == 30
    assert [line.split(":")[1] for line in tally.bad_lines] == [str(n) for n in range(1, 21)]


def test_text_that_only_looks_like_half_a_pair_is_read(tmp_path: Path) -> None:
    line = json.dumps({"prompt": "\U0001f43b \\ud", "chosen": "a", "rejected": "b"})
    assert "\\ud83d" in line
    found, _ = read(write_lines(tmp_path / "d.jsonl", line))
    assert found[0].prompt == [user("\U0001f43b \\ud")]
