"""`bon-train label` from its command line, with each labeller."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForSequenceClassification

from bon_gateway.testing.script import Call, Step, fake_reward
from tests.trainers.conftest import Serve
from tests.trainers.preferences.helpers import (
    bot,
    log_candidate,
    log_line,
    read_lines,
    user,
    write_lines,
)
from trainers.cli import main
from trainers.data import Pair, read_records
from trainers.demo.model import save_untrained_policy
from trainers.demo.tokenizer import build_tokenizer
from trainers.scoring import score


def label(folder: Path, labeller: dict[str, Any], *flags: str, **settings: Any) -> int:
    return main(["label", "--config", str(configured(folder, labeller, **settings)), *flags])


def configured(folder: Path, labeller: dict[str, Any], **settings: Any) -> Path:
    values: dict[str, Any] = {
        "input": str(folder / "answers.jsonl"),
        "output": str(folder / "out.jsonl"),
        "labeller": labeller,
    }
    path = folder / "label.yaml"
    path.write_text(yaml.safe_dump(values | settings), encoding="utf-8")
    return path


def answers(folder: Path, *records: list[str], **fields: Any) -> Path:
    lines = [
        {
            "prompt": [user(f"question {n}")],
            "candidates": [{"answer": [bot(text)], "policy": "p"} for text in texts],
            **fields,
        }
        for n, texts in enumerate(records)
    ]
    return write_lines(folder / "answers.jsonl", *lines)


def texts_of(path: Path) -> list[tuple[str, str]]:
    return [
        (line["chosen"][0]["content"], line["rejected"][0]["content"]) for line in read_lines(path)
    ]


def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out.report.json").read_text())
    return found


def judge(url: str, **settings: Any) -> dict[str, Any]:
    endpoint = {"url": f"{url}/v1", "model": "fake", "backoff_s": 0.001, "retries": 0}
    template = "{conversation}|{a}|{b}"
    return {"kind": "judge", "endpoint": endpoint, "prompt": template} | settings


def judging(verdict: Callable[[str, str], str]) -> Callable[[Call], Step]:
    """A judge who sees the two texts in the order shown."""

    def script(call: Call) -> Step:
        _, a, b = call.body["messages"][0]["content"].split("|")
        return Step(text=verdict(a, b))

    return script


def longest(a: str, b: str) -> str:
    return f"Well. [[{'A' if len(a) > len(b) else 'B' if len(b) > len(a) else 'tie'}]]"


def test_a_judge_is_asked_in_both_orders(tmp_path: Path, serve: Serve) -> None:
    answers(tmp_path, ["a", "bbb"], ["cc", "d"], ["e", "f"])
    upstream = serve(judging(longest))
    assert label(tmp_path, judge(upstream.url)) == 0
    assert texts_of(tmp_path / "out.jsonl") == [("bbb", "a"), ("cc", "d")]
    asked = sorted(call.body["messages"][0]["content"] for call in upstream.calls)
    assert asked == sorted(
        f"user: question {n}|{a}|{b}"
        for n, pair in enumerate([("a", "bbb"), ("cc", "d"), ("e", "f")])
        for a, b in (pair, pair[::-1])
    )
    assert {call.body["temperature"] for call in upstream.calls} == {0}
    assert report(tmp_path)["dropped"] == {"ties": 1}
    assert all(isinstance(pair, Pair) for pair in read_records(Pair, tmp_path / "out.jsonl"))


@pytest.mark.parametrize(
    ("verdict", "mode", "dropped", "noted"),
    [
        (
            "[[A]]",
            "drop",
            {"judge's verdict depends on the order": 1},
            {"judge preferred what was shown first, in both orders": 1},
        ),
        (
            "[[B]]",
            "tie",
            {"ties": 1},
            {
                "judge preferred what was shown second, in both orders": 1,
                "judge's verdict depends on the order": 1,
            },
        ),
        ("Both are fine.", "drop", {"judge's verdict cannot be read": 1}, {}),
        ("[[C]]", "drop", {"ties": 1}, {}),
    ],
)
def test_a_judge_who_cannot_be_trusted_is_counted(
    tmp_path: Path,
    serve: Serve,
    verdict: str,
    mode: str,
    dropped: dict[str, int],
    noted: dict[str, int],
) -> None:
    answers(tmp_path, ["a", "b"])
    labeller = judge(serve(judging(lambda a, b: verdict)).url, on_disagreement=mode)
    assert label(tmp_path, labeller) == 0
    assert texts_of(tmp_path / "out.jsonl") == []
    assert report(tmp_path)["dropped"] == dropped
    assert report(tmp_path)["noted"] == noted


def test_a_judges_last_word_counts_and_is_kept(tmp_path: Path, serve: Serve) -> None:
    answers(tmp_path, ["a", "bbb"])
    upstream = serve(judging(lambda a, b: f"At first [[A]], no: {longest(a, b)}"))
    assert label(tmp_path, judge(upstream.url)) == 0
    assert texts_of(tmp_path / "out.jsonl") == [("bbb", "a")]
    journal = read_lines(tmp_path / "out.labels.jsonl")
    assert journal[1]["replies"] == [
        "At first [[A]], no: Well. [[B]]",
        "At first [[A]], no: Well. [[A]]",
    ]


def test_several_answers_are_ranked_by_their_share_of_wins(tmp_path: Path, serve: Serve) -> None:
    answers(tmp_path, ["a", "bbb", "cc"])
    upstream = serve(judging(longest))
    assert label(tmp_path, judge(upstream.url), form="listwise") == 0
    [line] = read_lines(tmp_path / "out.jsonl")
    assert [c["score"] for c in line["candidates"]] == [0.0, 1.0, 0.5]
    assert [c["policy"] for c in line["candidates"]] == ["p"] * 3
    assert line["ordinal"] is True
    assert upstream.requests == 6
    # Another form needs no new verdicts.
    assert label(tmp_path, judge(upstream.url), form="pointwise") == 0
    assert [line["score"] for line in read_lines(tmp_path / "out.jsonl")] == [0.0, 1.0, 0.5]
    assert label(tmp_path, judge(upstream.url)) == 0
    assert texts_of(tmp_path / "out.jsonl") == [("bbb", "a")]
    assert label(tmp_path, judge(upstream.url), pairs="all") == 0
    assert texts_of(tmp_path / "out.jsonl") == [("bbb", "a"), ("cc", "a"), ("bbb", "cc")]
    assert upstream.requests == 6


def test_a_chain_compares_neighbours_only(tmp_path: Path, serve: Serve) -> None:
    answers(tmp_path, ["a", "bbb", "cc"])
    upstream = serve(judging(longest))
    assert label(tmp_path, judge(upstream.url, compare="chain"), pairs="all") == 0
    assert texts_of(tmp_path / "out.jsonl") == [("bbb", "a"), ("bbb", "cc")]
    assert upstream.requests == 4


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
    assert "1 failures in a row, the last: no answer after 1 attempts: status 500: gone" in (
        capsys.readouterr().err
    )
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
    # Where the judge is and how it is asked decides no verdict.
    again = judge(serve(judging(longest)).url)
    again["endpoint"]["concurrency"] = 1
    assert label(tmp_path, again) == 0


@pytest.mark.parametrize(
    ("labeller", "expected"),
    [
        ({"kind": "bleu"}, [("the little bear has a red kite", "bears")]),
        ({"kind": "rouge"}, [("the little bear has a red kite", "bears")]),
        ({"kind": "rouge", "measure": "rouge2"}, [("the little bear has a red kite", "bears")]),
        (
            {"kind": "regex", "patterns": [{"pattern": "bears$", "score": 2}, {"pattern": "red"}]},
            [("bears", "no")],
        ),
    ],
)
def test_rules(tmp_path: Path, labeller: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    answers(
        tmp_path,
        ["bears", "the little bear has a red kite", "no"],
        reference="the little bear has a kite",
    )
    assert label(tmp_path, labeller) == 0
    assert texts_of(tmp_path / "out.jsonl") == expected


def test_the_scores_of_rules_are_those_of_their_libraries(tmp_path: Path) -> None:
    answers(tmp_path, ["the cat sat", "a dog ran"], reference=["the cat sat down", "it sat"])
    assert label(tmp_path, {"kind": "rouge", "measure": "rouge1"}, form="listwise") == 0
    scores = [c["score"] for c in read_lines(tmp_path / "out.jsonl")[0]["candidates"]]
    assert scores == pytest.approx([6 / 7, 0.0])  # precision 1, recall 3/4
    (tmp_path / "out.labels.jsonl").unlink()
    assert label(tmp_path, {"kind": "bleu"}, form="listwise") == 0
    scores = [c["score"] for c in read_lines(tmp_path / "out.jsonl")[0]["candidates"]]
    # All n-grams match, and the shorter reference is as near in length: no brevity penalty.
    assert scores[0] == pytest.approx(100)
    assert scores[1] < 20


def test_a_rule_without_its_reference_is_counted(tmp_path: Path) -> None:
    answers(tmp_path, ["a", "b"])
    assert label(tmp_path, {"kind": "bleu"}) == 0
    assert report(tmp_path)["dropped"] == {"no reference to compare with": 1}


def test_a_reward_model_in_this_process(tmp_path: Path) -> None:
    tokenizer = build_tokenizer()
    save_untrained_policy(tokenizer, tmp_path / "policy", seed=0)
    torch.manual_seed(0)
    net = AutoModelForSequenceClassification.from_pretrained(tmp_path / "policy", num_labels=1)
    net.save_pretrained(tmp_path / "reward")
    tokenizer.save_pretrained(tmp_path / "reward")
    texts = ["Try ball and kite.", "Ugh.", "Hello, dear! Try ball."]
    answers(tmp_path, texts, texts[:2])
    labeller = {"kind": "reward_model", "model": str(tmp_path / "reward"), "batch_size": 2}
    assert label(tmp_path, labeller, form="listwise") == 0
    lines = read_lines(tmp_path / "out.jsonl")
    expected = score(
        tmp_path / "reward", [[user("question 0"), bot(text)] for text in texts], batch_size=1
    )
    assert [c["score"] for c in lines[0]["candidates"]] == pytest.approx(expected, abs=1e-5)
    assert len(lines[1]["candidates"]) == 2


def test_a_reward_server(tmp_path: Path, serve: Serve) -> None:
    answers(tmp_path, ["a", "b", "c"])
    upstream = serve()
    labeller = {"kind": "reward_server", "url": upstream.url, "model": "fake"}
    assert label(tmp_path, labeller, form="pointwise") == 0
    scores = [line["score"] for line in read_lines(tmp_path / "out.jsonl")]
    assert scores == [fake_reward(text) for text in "abc"]
    assert upstream.calls[0].path == "/v1/score"
    assert upstream.calls[0].body["items"][0]["messages"] == [user("question 0")]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'{"results": [{"rewards": [1.0]}]}', "not a reward for each answer in the reply"),
        (b'{"results": [{}, {}]}', "no rewards in the reply"),
    ],
)
def test_a_reward_server_that_answers_something_else(
    tmp_path: Path, serve: Serve, raw: bytes, reason: str
) -> None:
    answers(tmp_path, ["a", "b"])
    labeller = {"kind": "reward_server", "url": serve(lambda call: Step(raw=raw)).url}
    assert label(tmp_path, labeller) == 0
    assert report(tmp_path)["figures"][f"failed: {reason}"] == 1


def test_rewrites_are_preferred(tmp_path: Path, serve: Serve) -> None:
    write_lines(
        tmp_path / "answers.jsonl",
        *[{"prompt": "hi", "answer": text} for text in ("bad", "fine", "long", "mute")],
    )

    def script(call: Call) -> Step:
        answer = call.body["messages"][0]["content"].rpartition("# Answer\n")[2]
        text = {"bad": "good", "fine": "fine", "long": "more", "mute": " "}[answer]
        return Step(text=text, finish_reason="length" if answer == "long" else "stop")

    endpoint = {"url": f"{serve(script).url}/v1"}
    assert label(tmp_path, {"kind": "rewrite", "endpoint": endpoint}) == 0
    assert texts_of(tmp_path / "out.jsonl") == [("good", "bad")]
    assert report(tmp_path)["dropped"] == {
        "empty rewrite": 1,
        "rewrite cut at its token limit": 1,
        "rewrite equals the answer": 1,
    }


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
    assert label(tmp_path, {"kind": "regex", "patterns": [{"pattern": "kind"}]}) == 0
    assert texts_of(tmp_path / "out.jsonl") == [("a kind one", "short")]


def hand(folder: Path, suffix: str = ".tsv", **settings: Any) -> dict[str, Any]:
    return {"kind": "hand", "sheet": str(folder / f"sheet{suffix}")} | settings


def read_rows(path: Path) -> list[dict[str, str]]:
    if path.suffix == ".jsonl":
        return read_lines(path)
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines, dialect="excel-tab"))


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    if path.suffix == ".jsonl":
        write_lines(path, *rows)
        return
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, rows[0].keys(), dialect="excel-tab")
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl"])
def test_a_sheet_is_written_filled_in_and_read(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [[f'good "{n}"\nline\ttwo', f"bad {n}"] for n in range(20)]
    answers(tmp_path, *records)
    sheet = tmp_path / f"sheet{suffix}"
    assert label(tmp_path, hand(tmp_path, suffix)) == 0
    out = capsys.readouterr().out
    assert "comparisons to label: 20" in out
    assert f"{sheet}: fill in" in out
    assert not (tmp_path / "out.jsonl").exists()
    rows = read_rows(sheet)
    shown_first = [row["answer_a"].startswith("good") for row in rows]
    assert 0 < sum(shown_first) < 20  # the order is blind
    for row, good_first in zip(rows, shown_first, strict=True):
        row["preference"] = "significantly better" if good_first else "significantly worse"
    rows[0]["preference"] = "tie"
    rows[1]["preference"] = ""
    rows[2]["preference"] = "skip"
    rows[3]["preference"] = "A" if shown_first[3] else "b"
    rows[4]["preference"] = ""
    rows[4]["rewrite"] = "best"
    write_rows(sheet, rows)
    assert label(tmp_path, hand(tmp_path, suffix)) == 0
    lines = read_lines(tmp_path / "out.jsonl")
    pairs = texts_of(tmp_path / "out.jsonl")
    assert sorted(pairs[1:3]) == sorted([("best", records[4][0]), ("best", "bad 4")])
    assert pairs[:1] + pairs[3:] == [(records[n][0], f"bad {n}") for n in (3, *range(5, 20))]
    assert [line.get("margin") for line in lines] == [None] * 3 + [3.0] * 15
    assert report(tmp_path)["dropped"] == {
        "left out by the labeller": 1,
        "not labelled yet": 1,
        "ties": 1,
    }


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        ({"preference": "nicer"}, 2, "preference: 'nicer' is no step of the scale"),
        ({"id": "x"}, 2, "id: no such answers in the input: 'x'"),
        ({"id": "{key}-0-2"}, 2, "id: no such answers in the input: '{key}-0-2'"),
        ({"id": "{key}-1-1"}, 2, "id: no such answers in the input: '{key}-1-1'"),
        ({"id": "{other}"}, 3, "id: stands there twice"),
    ],
)
def test_a_mistake_on_a_sheet_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, str],
    line: int,
    message: str,
) -> None:
    answers(tmp_path, ["a", "b"], ["c", "d"])
    assert label(tmp_path, hand(tmp_path)) == 0
    rows = read_rows(tmp_path / "sheet.tsv")
    key = rows[0]["id"].partition("-")[0]
    rows[0] |= {k: v.format(key=key, other=rows[1]["id"]) for k, v in change.items()}
    write_rows(tmp_path / "sheet.tsv", rows)
    assert label(tmp_path, hand(tmp_path)) == 2
    error = capsys.readouterr().err
    assert error == f"bon-train: {tmp_path / 'sheet.tsv'}:{line}: {message.format(key=key)}\n"


def test_a_sheet_without_its_columns_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers(tmp_path, ["a", "b"])
    (tmp_path / "sheet.tsv").write_text("id\tlabel\n")
    assert label(tmp_path, hand(tmp_path)) == 2
    assert "sheet.tsv:1: no column preference" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labeller", "message"),
    [
        ({"kind": "dice"}, "labeller: Input tag 'dice' found using 'kind'"),
        ({"kind": "regex", "patterns": [{"pattern": "("}]}, "pattern: no regular expression: "),
        ({"kind": "hand", "sheet": "x.csv"}, "sheet: a .tsv or .jsonl file is expected"),
        ({"kind": "hand"}, "labeller.sheet: needed, since there is no terminal to ask in"),
        (
            {"kind": "judge", "endpoint": {"url": "http://x"}, "prompt": "{a}{b}"},
            "prompt: {conversation} is missing",
        ),
        ({"kind": "reward_model", "model": "nowhere"}, "nowhere"),
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


def at_a_terminal(path: Path, *typed: str) -> tuple[int, str]:
    """Run the command as somebody who types these lines; its exit code and what it showed."""
    controller, terminal = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "trainers", "label", "--config", str(path)],
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    os.close(terminal)
    os.write(controller, "".join(f"{line}\n" for line in typed).encode())
    out, _ = process.communicate(timeout=60)
    os.close(controller)
    return process.returncode, out


def test_the_terminal_asks_and_goes_on_where_it_was_left(tmp_path: Path) -> None:
    answers(tmp_path, ["one", "two"], ["three", "four"])
    path = configured(tmp_path, {"kind": "hand"})
    code, out = at_a_terminal(path, "a", "q")
    assert code == 130, out
    first = re.search(r"\[A\] (\w+)\n\n\[B\] (\w+)", out)
    assert first is not None
    assert "the same command goes on" in out
    assert not (tmp_path / "out.jsonl").exists()
    code, out = at_a_terminal(path, "b")
    assert code == 0, out
    second = re.search(r"\[A\] (\w+)\n\n\[B\] (\w+)", out)
    assert second is not None
    assert set(first.groups()) == {"one", "two"}
    assert set(second.groups()) == {"three", "four"}
    assert texts_of(tmp_path / "out.jsonl") == [first.groups(), second.groups()[::-1]]


def test_nothing_to_label_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers(tmp_path, ["a", "a"])
    assert label(tmp_path, {"kind": "bleu"}) == 2
    assert "nothing to label: 1 equal answers; 1 fewer than two usable answers" in (
        capsys.readouterr().err
    )
