"""Figures of published pairs and of GSM8K's recorded answers, computed by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks.real_study import module

external = module("external")
scoring = module("scoring")


def pair(better: str, worse: str, subset: str = "Natural") -> Any:
    return external.JudgedPair([{"role": "user", "content": "?"}], better, worse, subset)


def scored(*rewards: float, cut: bool = False) -> Any:
    return scoring.ScoredTexts(list(rewards), cut)


def test_pairs_are_counted_by_subset_and_what_was_not_read_is_told() -> None:
    pairs = [pair("long one", "short"), pair("a", "b"), pair("a", "long", "Manual")]
    found = {"reward": [scored(2, 1), scored(1, 1, cut=True), None]}
    natural, manual, every = external.pair_figures(pairs, found)
    assert (natural["subset"], natural["pairs"]) == ("Natural", 2)
    assert natural["longer"]["value"] == 0.75
    assert natural["reward"]["value"] == 0.75
    assert natural["reward, prompts cut"] == 1
    assert (manual["reward"], manual["reward, not read"]) == (None, 1)
    assert manual["longer"]["value"] == 0
    assert every["longer"]["value"] == 0.5
    assert every["pairs"] == 3


def test_one_of_the_recorded_answers_is_chosen() -> None:
    questions = [
        external.Solved("?", ["so 3", "thus it is 3", "4", "5"], [True, True, False, False]),
        external.Solved("?", ["1", "2", "3", "4 apples"], [False, False, False, True]),
    ]
    found = external.question_figures(questions, {"reward": [scored(1, 0, 1, 0), None]})
    ways = {name: one["value"] for name, one in found["ways"].items()}
    assert ways["random"] == pytest.approx((0.5 + 0.25) / 2)
    assert ways["majority"] == pytest.approx((1 + 0.25) / 2)
    assert ways["longest"] == pytest.approx((1 + 1) / 2)
    assert ways["shortest"] == pytest.approx((0 + 0) / 2)
    assert ways["oracle"] == 1
    assert ways["reward"] == pytest.approx((0.5 + 0.25) / 2)
    assert found["not read"] == {"reward": 1}
