"""Every format gives the records that its lines mean, detected or named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bon_gateway.recording.entry import LogEntry, to_line
from bon_gateway.recording.redaction import Redaction
from bon_gateway.testing.fakes import completion
from bon_gateway.types import Candidate as LoggedCandidate
from bon_gateway.types import CandidateStatus, ChatRequest, Selection, Timings, Usage
from tests.trainers.preferences.helpers import (
    bot,
    log_candidate,
    log_line,
    read,
    user,
    write_lines,
)
from tests.trainers.preferences.readers.foreign import FOREIGN
from trainers.base.errors import DataError
from trainers.preferences.readers import FORMATS, detect
from trainers.preferences.readers.options import ReadOptions
from trainers.preferences.records import ListedAnswer, Listwise, Pairwise, Pointwise, Preference

ASK = [user("hi")]
PAIR = Pairwise(ASK, [bot("good")], [bot("bad")])

MEANINGS: list[tuple[str, dict[str, Any], list[Preference]]] = [
    ("canonical", {"prompt": ASK, "chosen": [bot("good")], "rejected": [bot("bad")]}, [PAIR]),
    ("canonical", {"prompt": "hi", "chosen": "good", "rejected": bot("bad")}, [PAIR]),
    (
        "canonical",
        {
            "prompt": "hi",
            "chosen": "good",
            "rejected": "bad",
            "margin": 2,
            "preferences": {"kind": 1, "safe": -1},
        },
        [Pairwise(ASK, [bot("good")], [bot("bad")], 2.0, None, {"kind": 1, "safe": -1})],
    ),
    (
        "rewardbench",
        {"prompt": "hi", "chosen": "good", "rejected": "bad", "subset": "hep-js", "id": 3},
        [Pairwise(ASK, [bot("good")], [bot("bad")], subset="hep-js")],
    ),
    ("implicit", {"chosen": [*ASK, bot("good")], "rejected": [*ASK, bot("bad")]}, [PAIR]),
    (
        "implicit",
        {"prompt": "hi", "chosen": [*ASK, bot("good")], "rejected": [*ASK, bot("bad")]},
        [PAIR],
    ),
    (
        "implicit",
        {
            "prompt": "hi",
            "chosen": [*ASK, bot("good")],
            "rejected": [*ASK, bot("bad")],
            "score_chosen": 8.5,
            "score_rejected": 6,
        },
        [Pairwise(ASK, [bot("good")], [bot("bad")], 2.5)],
    ),
    (
        "implicit",
        {
            "chosen": [*ASK, bot("one"), user("and?"), bot("good")],
            "rejected": [*ASK, bot("one"), user("and?"), bot("bad")],
        },
        [Pairwise([*ASK, bot("one"), user("and?")], [bot("good")], [bot("bad")])],
    ),
    (
        "hh",
        {
            "chosen": "\n\nHuman: hi\n\nAssistant: good",
            "rejected": "\n\nHuman: hi\n\nAssistant: bad\n",
        },
        [PAIR],
    ),
    (
        "hh",
        {
            "chosen": "\n\nHuman: a\n\nHuman: b\n\nAssistant: c\n\nHuman: d\n\nAssistant: x",
            "rejected": "\n\nHuman: a\n\nHuman: b\n\nAssistant: c\n\nHuman: d\n\nAssistant: y",
        },
        [Pairwise([user("a\n\nb"), bot("c"), user("d")], [bot("x")], [bot("y")])],
    ),
    (
        "ultrafeedback",
        {
            "instruction": "hi",
            "completions": [
                {"model": "m1", "response": "bad", "overall_score": 3},
                {"model": "m2", "response": "good", "overall_score": 7.5},
                {"response": "unknown"},
            ],
        },
        [
            Listwise(
                ASK,
                (
                    ListedAnswer([bot("bad")], 3.0, {"policy": "m1"}),
                    ListedAnswer([bot("good")], 7.5, {"policy": "m2"}),
                    ListedAnswer([bot("unknown")]),
                ),
            )
        ],
    ),
    (
        "pointwise",
        {"prompt": "hi", "completion": "good", "score": 4},
        [Pointwise(ASK, [bot("good")], 4.0)],
    ),
    (
        "pointwise",
        {"prompt": "hi", "answer": "good", "scores": {"kind": 1, "safe": 2}},
        [Pointwise(ASK, [bot("good")], 1.5, {"kind": 1.0, "safe": 2.0})],
    ),
    (
        "listwise",
        {
            "prompt": "hi",
            "reference": "best",
            "candidates": [{"answer": "good", "score": 2, "policy": "p"}, {"answer": "bad"}],
        },
        [
            Listwise(
                ASK,
                (ListedAnswer([bot("good")], 2.0, {"policy": "p"}), ListedAnswer([bot("bad")])),
                references=("best",),
            )
        ],
    ),
    (
        "listwise",
        {
            "prompt": "hi",
            "candidates": [{"answer": "bad", "rank": 2}, {"answer": "good", "rank": 1}],
        },
        [
            Listwise(
                ASK,
                (ListedAnswer([bot("bad")], -2.0), ListedAnswer([bot("good")], -1.0)),
                ordinal=True,
            )
        ],
    ),
    (
        "ranking",
        {"prompt": "hi", "answers": ["bad", "good"], "ranks": [2, 1]},
        [
            Listwise(
                ASK,
                (ListedAnswer([bot("bad")], -2.0), ListedAnswer([bot("good")], -1.0)),
                ordinal=True,
            )
        ],
    ),
    (
        "ranking",
        {"prompt": "hi", "answers": ["bad", "good"], "scores": [0.5, 1]},
        [Listwise(ASK, (ListedAnswer([bot("bad")], 0.5), ListedAnswer([bot("good")], 1.0)))],
    ),
    ("rewrite", {"messages": ASK, "answer": "bad", "rewrite": "good"}, [PAIR]),
    (
        "steps",
        {"prompt": "hi", "first": "good", "second": "bad", "preference": "Slightly better"},
        [Pairwise(ASK, [bot("good")], [bot("bad")], 1.0)],
    ),
    (
        "steps",
        {"prompt": "hi", "first": "bad", "second": "good", "preference": "significantly_worse"},
        [Pairwise(ASK, [bot("good")], [bot("bad")], 3.0)],
    ),
    ("steps", {"prompt": "hi", "first": "a", "second": "b", "preference": "tie"}, []),
    (
        "rewardbench2",
        {
            "prompt": "hi",
            "chosen": ["good"],
            "rejected": ["bad", "worse"],
            "subset": "Math",
            "total_completions": 3,
        },
        [
            Listwise(
                ASK,
                (
                    ListedAnswer([bot("good")], 1.0),
                    ListedAnswer([bot("bad")], 0.0),
                    ListedAnswer([bot("worse")], 0.0),
                ),
                ordinal=True,
                subset="Math",
            )
        ],
    ),
    ("logged", {"prompt": "hi", "answer": "x"}, [Listwise(ASK, (ListedAnswer([bot("x")]),))]),
    (
        "logged",
        {"messages": [*ASK, bot("x")], "reference": ["y"]},
        [Listwise(ASK, (ListedAnswer([bot("x")]),), references=("y",))],
    ),
    (
        "candidate_log",
        log_line(log_candidate(0, "good", 1.25), log_candidate(1, "bad", None)),
        [
            Listwise(
                ASK,
                tuple(
                    ListedAnswer(
                        [bot(text)],
                        reward,
                        {
                            "policy": "local",
                            "revision": "3",
                            "temperature": 0.8,
                            "seed": 7,
                            "finish_reason": "stop",
                        },
                    )
                    for text, reward in (("good", 1.25), ("bad", None))
                ),
            )
        ],
    ),
    *FOREIGN,
]


@pytest.mark.parametrize(("name", "line", "expected"), MEANINGS)
def test_a_line_means(
    tmp_path: Path, name: str, line: dict[str, Any], expected: list[Preference]
) -> None:
    path = write_lines(tmp_path / "d.jsonl", line)
    assert detect(line) == name
    for format_name in ("auto", name):
        found, tally = read(path, format_name=format_name)
        assert found == expected
        assert (tally.lines, tally.records, tally.bad) == (1, 1, 0)


def test_every_format_is_tested() -> None:
    assert {name for name, _, _ in MEANINGS} == set(FORMATS)


@pytest.mark.parametrize("name", ["canonical", "pointwise", "listwise"])
def test_what_is_written_reads_back_as_it_was(tmp_path: Path, name: str) -> None:
    for written in [record for kind, _, records in MEANINGS if kind == name for record in records]:
        found, _ = read(write_lines(tmp_path / "d.jsonl", written.as_json()))
        again = found[0]
        assert again.as_json() == written.as_json()
        assert again == written


def test_the_first_readable_record_decides_the_format(tmp_path: Path) -> None:
    good = {"prompt": "hi", "chosen": "good", "rejected": "bad"}
    path = write_lines(tmp_path / "d.jsonl", "{", good, {"prompt": "hi", "answer": "a", "score": 1})
    found, tally = read(path, skip_bad=True)
    assert found == [PAIR]
    assert tally.bad_lines == [
        f"{path}:1: broken JSON: Expecting property name enclosed in double quotes at column 2",
        f"{path}:3: chosen: missing",
    ]


def test_an_unknown_format_names_the_keys_and_the_formats(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", {"b": 1, "a": 2})
    with pytest.raises(DataError) as error:
        read(path, skip_bad=True)
    assert str(error.value) == (
        f"{path}:1: no known format has these keys: a, b; say with fields where its own are, "
        "such as fields={prompt: KEY, chosen: KEY, rejected: KEY}, or name one with format: "
        + ", ".join(FORMATS)
    )


def test_dialogues_that_part_early_are_dropped_and_counted(tmp_path: Path) -> None:
    line = {
        "chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d",
        "rejected": "\n\nHuman: a\n\nAssistant: e\n\nHuman: c\n\nAssistant: d",
    }
    found, tally = read(write_lines(tmp_path / "d.jsonl", line))
    assert found == []
    assert tally.dropped == {"the two conversations differ before their last answers": 1}


def test_binarised_pairs_of_equal_score_are_ties(tmp_path: Path) -> None:
    line: dict[str, Any] = {"chosen": [*ASK, bot("a")], "rejected": [*ASK, bot("b")]}
    line |= {"score_chosen": 7.0, "score_rejected": 7.0}
    found, tally = read(write_lines(tmp_path / "d.jsonl", line))
    assert found == []
    assert tally.dropped == {"ties": 1}


def test_equal_conversations_give_an_equal_pair(tmp_path: Path) -> None:
    line = {"chosen": [*ASK, bot("same")], "rejected": [*ASK, bot("same")]}
    found, _ = read(write_lines(tmp_path / "d.jsonl", line))
    assert found == [Pairwise(ASK, [bot("same")], [bot("same")])]


def test_answers_may_begin_with_the_same_tool_call(tmp_path: Path) -> None:
    call: Any = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f"}}]}
    result: Any = {"role": "tool", "content": "42"}
    line = {
        "chosen": [*ASK, call, result, bot("good")],
        "rejected": [*ASK, call, result, bot("bad")],
    }
    found, _ = read(write_lines(tmp_path / "d.jsonl", line))
    assert found == [Pairwise([*ASK, call, result], [bot("good")], [bot("bad")])]


def test_the_margins_of_the_six_steps_are_settings(tmp_path: Path) -> None:
    lines = [
        {"prompt": "hi", "first": "a", "second": "b", "preference": step}
        for step in ("significantly better", "better", "slightly worse", "about the same")
    ]
    margins = {"significantly better": 1.0, "better": 0.5, "slightly better": 0.25}
    found, tally = read(
        write_lines(tmp_path / "d.jsonl", *lines), options=ReadOptions(step_margins=margins)
    )
    assert [(p.chosen[0]["content"], p.margin) for p in found if isinstance(p, Pairwise)] == [
        ("a", 1.0),
        ("a", 0.5),
        ("b", 0.25),
    ]
    assert tally.dropped == {"ties": 1}


def test_unusable_requests_and_candidates_of_the_log_are_counted(tmp_path: Path) -> None:
    good, bad = log_candidate(0, "good", 1.0), log_candidate(1, "bad", 0.0)
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    lines = [
        log_line(good, bad, error="upstream_failed"),
        log_line(good, bad, degraded="deadline"),
        log_line(),
        log_line(good, bad, messages=[user("hi"), bot("I")]),
        log_line(good, bad, messages=[picture]),
        log_line(log_candidate(0, "x", None, status="rejected")),
        log_line(
            good,
            log_candidate(1, "x", None, status="failed"),
            log_candidate(2, "x", None, message=None),
            log_candidate(3, "x", 0.5, status="truncated", finish_reason="length"),
            bad,
        ),
    ]
    path = write_lines(tmp_path / "d.jsonl", *lines)
    found, tally = read(path)
    assert [[c.answer for c in p.candidates] for p in found if isinstance(p, Listwise)] == [
        [[bot("good")], [bot("bad")]]
    ]
    assert tally.dropped == {
        "request with error: upstream_failed": 1,
        "request with degraded: deadline": 1,
        "request without candidates": 1,
        "request to continue an answer": 1,
        "request that is not only text": 1,
        "request without a usable candidate": 1,
        "candidate of status rejected": 1,
        "candidate of status failed": 1,
        "candidate without its message": 1,
        "candidate cut at its token limit": 1,
    }
    found, _ = read(path, options=ReadOptions(keep_cut=True, keep_degraded=True))
    assert [len(p.candidates) for p in found if isinstance(p, Listwise)] == [2, 3]


def test_what_the_gateway_writes_is_read(tmp_path: Path) -> None:
    chosen = Selection(
        winners=(1,),
        candidates=(
            LoggedCandidate(0, CandidateStatus.TRUNCATED, completion("Try", tokens=1), 0.5, 1),
            LoggedCandidate(1, CandidateStatus.FINISHED, completion("Try kite.", tokens=3), 1.5, 3),
            LoggedCandidate(2, CandidateStatus.FINISHED, completion("No.", tokens=2), -1.0, 2),
            LoggedCandidate(3, CandidateStatus.REJECTED, tokens=5, reason="straggler"),
        ),
        strategy="best_of_n",
        n=4,
        usage=Usage(5, 3, 8, 30),
        timings=Timings(0.5, 0.1),
    )
    asked = ChatRequest(
        messages=[{"role": "user", "content": [{"type": "text", "text": "name a toy"}]}],
        sampling={"temperature": 0.9},
        seed=7,
        top=1,
        request_id="req-1",
    )
    entry = LogEntry(0.0, "bear", "base", "v7", "helpful", "best_of_n", 4, asked, chosen, None)
    path = tmp_path / "d.jsonl"
    path.write_bytes(to_line(entry, Redaction([], []), with_sampling=True))
    found, tally = read(path)
    source = {"policy": "base", "revision": "v7", "temperature": 0.9, "seed": 7}
    source |= {"finish_reason": "stop"}
    assert found == [
        Listwise(
            [user("name a toy")],
            (
                ListedAnswer([bot("Try kite.")], 1.5, source),
                ListedAnswer([bot("No.")], -1.0, source),
            ),
        )
    ]
    assert tally.dropped == {
        "candidate cut at its token limit": 1,
        "candidate of status rejected": 1,
    }


def test_lists_may_have_a_score_in_each_dimension(tmp_path: Path) -> None:
    scores = ({"kind": 3, "short": 1}, {"kind": 1, "short": 2})
    line = {
        "prompt": "q",
        "candidates": [{"answer": f"a{i}", "scores": each} for i, each in enumerate(scores)],
    }
    [found], _ = read(write_lines(tmp_path / "d.jsonl", line))
    assert isinstance(found, Listwise)
    assert [one.score for one in found.candidates] == [2.0, 1.5]
    assert [dict(one.dimensions) for one in found.candidates] == list(scores)
    assert all(not one.source for one in found.candidates)
    line["candidates"][1]["scores"] = {"kind": "\x1bgood"}  # type: ignore[index]
    with pytest.raises(DataError, match=r"candidates\.1\.scores\.kind: a number is expected"):
        read(write_lines(tmp_path / "d.jsonl", line))
