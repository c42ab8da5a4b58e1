"""`bon-train label` from its command line, whoever labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bon_gateway.testing.script import Call, Step
from tests.trainers.conftest import Serve
from tests.trainers.preferences.helpers import (
    log_candidate,
    log_line,
    write_lines,
)
from tests.trainers.preferences.labelling import (
    answers,
    judge,
    judging,
    label,
    longest,
    report,
    texts_of,
)


def test_a_stopped_run_goes_on(
    tmp_path: Path, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(tmp_path, *[["a", f"bbb{n}"] for n in range(5)])
    gone = [False]

    def script(call: Call) -> Step:
        if gone[0]:
            return Step(status=500, error={"message": "gone"})
        return judging(longest)(call)

    upstream = serve(script)
    labeller = judge(upstream.url)
    labeller["endpoint"]["give_up_after"] = 1
    assert label(tmp_path, labeller, input=str(answers(tmp_path, ["a", "bbb0"]))) == 0
    answers(tmp_path, *[["a", f"bbb{n}"] for n in range(5)])
    gone[0] = True
    before = (tmp_path / "out.jsonl").read_bytes()
    assert label(tmp_path, labeller) == 2
    assert "1 failures in a row, the last: status 500: gone" in (capsys.readouterr().err)
    assert (tmp_path / "out.jsonl").read_bytes() == before
    gone[0] = False
    upstream.calls.clear()
    assert label(tmp_path, labeller) == 0
    asked = " ".join(call.body["messages"][0]["content"] for call in upstream.calls)
    assert [n for n in range(5) if f"question {n}|" in asked] == [1, 2, 3, 4]
    assert texts_of(tmp_path / "out.jsonl") == [(f"bbb{n}", "a") for n in range(5)]


def test_failed_requests_leave_gaps_that_are_counted(tmp_path: Path, serve: Serve) -> None:
    answers(tmp_path, ["a", "bbb"], ["bad", "x"], ["c", "dd"])

    def script(call: Call) -> Step:
        if "bad" in call.body["messages"][0]["content"]:
            return Step(status=400, error={"message": "too long"})
        return judging(longest)(call)

    assert label(tmp_path, judge(serve(script).url)) == 0
    assert texts_of(tmp_path / "out.jsonl") == [("bbb", "a"), ("dd", "c")]
    assert report(tmp_path)["dropped"] == {"not labelled": 1}
    assert report(tmp_path)["figures"]["failed: status 400: too long"] == 1


def test_a_journal_of_other_settings_is_refused(
    tmp_path: Path, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(tmp_path, ["a", "bbb"])
    upstream = serve(judging(longest))
    assert label(tmp_path, judge(upstream.url)) == 0
    assert label(tmp_path, judge(upstream.url, max_tokens=3)) == 2
    assert "out.labels.jsonl:1: labelled with other settings" in capsys.readouterr().err
    # Where the judge is and how it is asked decides no label.
    again = judge(serve(judging(longest)).url)
    again["endpoint"]["concurrency"] = 1
    assert label(tmp_path, again) == 0


def test_the_labels_that_data_has_are_not_shown(tmp_path: Path, serve: Serve) -> None:
    write_lines(
        tmp_path / "answers.jsonl",
        {"prompt": "hi", "chosen": "z", "rejected": "yy"},
        {"prompt": "hi", "chosen": "yy", "rejected": "z"},
    )
    assert label(tmp_path, judge(serve(judging(longest)).url), form="pairwise") == 0
    # Both lines are one question, whichever was preferred.
    assert texts_of(tmp_path / "out.jsonl") == [("yy", "z")]
    assert report(tmp_path)["dropped"] == {"the same record again": 1}


def test_the_gateways_log_can_be_judged_again(tmp_path: Path) -> None:
    write_lines(
        tmp_path / "answers.jsonl",
        log_line(log_candidate(0, "short", 2.0), log_candidate(1, "a kind one", None)),
    )
    assert label(tmp_path, {"type": "regex", "patterns": [{"pattern": "kind"}]}) == 0
    assert texts_of(tmp_path / "out.jsonl") == [("a kind one", "short")]


@pytest.mark.parametrize(
    ("labeller", "message"),
    [
        ({"type": "dice"}, "labeller.type: unknown type 'dice'; known: gold, hand, judge"),
        ({"type": "regex", "patterns": [{"pattern": "("}]}, "pattern: no regular expression: "),
        ({"type": "hand", "sheet": "x.csv"}, "sheet: a .tsv or .jsonl file is expected"),
        ({"type": "hand"}, "labeller.sheet: needed, since there is no terminal to ask in"),
        (
            {"type": "judge", "endpoint": {"url": "http://x"}, "prompt": "{a}{b}"},
            "prompt: {conversation} is missing",
        ),
        ({"type": "reward_model", "model": "nowhere"}, "nowhere"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    labeller: dict[str, Any],
    message: str,
) -> None:
    answers(tmp_path, ["a", "b"])
    assert label(tmp_path, labeller) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert message in error[0]


def test_a_dry_run_shows_a_record_and_asks_nobody(
    tmp_path: Path, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(tmp_path, ["a", "b"], ["c", "d"])
    upstream = serve()
    assert label(tmp_path, judge(upstream.url), "--dry-run") == 0
    out = capsys.readouterr().out
    assert '"content": "question 0"' in out
    assert out.endswith("records to label: 2\n")
    assert upstream.requests == 0
    assert [path.name for path in tmp_path.glob("out*")] == []


def test_nothing_to_label_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers(tmp_path, ["a", "a"])
    assert label(tmp_path, {"type": "bleu"}) == 2
    assert "nothing to label: 1 equal answers; 1 fewer than two usable answers" in (
        capsys.readouterr().err
    )
