"""`bon-train label` by a judge model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainers.conftest import Serve
from tests.trainers.preferences.helpers import (
    read_lines,
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
from trainers.base.data import Pair, read_records


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
    assert label(tmp_path, labeller) == 1
    assert not (tmp_path / "out.jsonl").exists()
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
    # Another form needs no new labels.
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


def test_a_budget_asks_less_and_still_ties_all_answers_together(
    tmp_path: Path, serve: Serve
) -> None:
    six = ["a", "bb", "ccc", "dddd", "eeeee", "ffffff"]
    answers(tmp_path, six, six[:2])
    upstream = serve(judging(longest))
    assert label(tmp_path, judge(upstream.url, budget=5), pairs="all") == 0
    found = texts_of(tmp_path / "out.jsonl")
    assert len(found) == 5 + 1
    assert upstream.requests == 2 * (5 + 1)
    assert {text for pair in found[:5] for text in pair} == set(six)
    assert all(len(better) > len(worse) for better, worse in found)
    # The same record gives the same pairs, so a run that was stopped goes on.
    assert label(tmp_path, judge(upstream.url, budget=5), pairs="all") == 0
    assert (texts_of(tmp_path / "out.jsonl"), upstream.requests) == (found, 12)


def test_a_budget_of_all_pairs_changes_nothing(tmp_path: Path, serve: Serve) -> None:
    answers(tmp_path, ["a", "bbb", "cc"])
    upstream = serve(judging(longest))
    assert label(tmp_path, judge(upstream.url, budget=3), pairs="all") == 0
    assert texts_of(tmp_path / "out.jsonl") == [("bbb", "a"), ("cc", "a"), ("bbb", "cc")]


@pytest.mark.parametrize("texts", [["a", "bb"], ["bb", "a"], ["a", "bb", "ccc"]])
def test_pairs_by_comparison_keep_metadata(tmp_path: Path, serve: Serve, texts: list[str]) -> None:
    metadata = {"reference": "forty"}
    answers(tmp_path, texts, metadata=metadata)
    upstream = serve(judging(longest))
    for pairs in ("all", "best_worst"):
        assert label(tmp_path, judge(upstream.url), pairs=pairs) == 0
        assert all(one["metadata"] == metadata for one in read_lines(tmp_path / "out.jsonl"))
    assert all("forty" not in str(call.body) for call in upstream.calls)
