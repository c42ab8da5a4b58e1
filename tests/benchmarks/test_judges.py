"""The figures of the judges' benchmark: ties, silence, costs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from bon_gateway.judging import JudgeUsage
from tests.benchmarks.programs import module

bench = module("judges")
Judged, Outcome = bench.Judged, bench.Outcome
PAIR = Judged("LLMBar Natural", [], ["a", "b"], [True, False])


def outcome(*chosen: int, cached: int = 0) -> Any:
    return Outcome(chosen, JudgeUsage(2, 100, cached, 2, 0 if chosen else 2), 0)


def test_ties_count_by_their_share_and_silence_as_chance() -> None:
    four = Judged("GSM8K", [], ["a", "b", "c", "d"], [True, False, False, False])
    found = bench.figures(
        [PAIR, PAIR, PAIR, four, four],
        [outcome(0), outcome(1), outcome(0, 1), outcome(), outcome(0, 1)],
    )
    assert found["values"] == [1, 0, 0.5, 0.25, 0.5]
    assert found["right"]["value"] == pytest.approx(0.45)
    assert (found["ties"], found["no verdict"]) == (0.4, 0.2)
    assert found["first place"] == 0.5
    assert (found["random"], found["oracle"]) == (pytest.approx(0.4), 1)


def test_what_was_cached_is_told_apart() -> None:
    found = bench.figures([PAIR, PAIR], [outcome(0, cached=60), outcome(0)])
    assert (found["calls"], found["tokens"], found["uncached tokens"]) == (2, 102, 72)
    assert found["usage"]["cached_tokens"] == 60


def test_differences_are_paired() -> None:
    one = {"all": {"values": [1.0, 1.0, 0.0]}}
    other = {"all": {"values": [0.0, 1.0, 0.0]}}
    told = bench.differences({"judge": one, "model": other}, "all", "model")
    assert list(told) == ["judge"]
    assert told["judge"]["value"] == pytest.approx(1 / 3)


def test_groups_have_the_subsets_and_all_of_them() -> None:
    asked = [PAIR, Judged("GSM8K", [], ["a"], [True]), Judged("LLMBar Manual", [], ["a"], [True])]
    groups = bench.grouped(asked)
    assert groups["LLMBar"] == [0, 2]
    assert groups["GSM8K"] == [1]


def test_only_the_worse_answer_gives_orders(tmp_path: Path) -> None:
    pair = {"subset": "Natural", "input": "?", "output_1": "good", "output_2": "bad", "label": 1}
    (tmp_path / "llmbar.jsonl").write_text(json.dumps(pair) + "\n", "utf-8")
    options = argparse.Namespace(pairs=5, questions=0, longest=99, inject=True)
    [asked] = bench.questions(tmp_path, tmp_path / "made", options)
    assert dict(zip(asked.answers, asked.right, strict=True)) == {
        "good": True,
        f"bad{bench.INJECTED}": False,
    }
    assert asked == bench.in_order(asked.group, asked.messages, asked.answers, asked.right)
