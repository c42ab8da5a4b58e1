"""Pointwise judging over a scripted judge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from bon_gateway.errors import AbstainedError
from bon_gateway.judging import JudgeUsage
from bon_gateway.testing.judges import Chances, FakeJudge, fenced
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import Scores
from tests.bon_gateway.backends.reward.judge.comparing import compared

FIVE = {"type": "pointwise", "levels": 5}
GRADES: dict[str, Chances] = {
    "good": {"E": 0.6, "D": 0.3, "C": 0.1},
    "fair": {"E": 0.4, "D": 0.4, "C": 0.2},
    "poor": {"A": 0.75, "B": 0.25},
}


def by_answer(prompt: str) -> Chances:
    return GRADES.get(fenced(prompt)[0], {"C": 1.0})


async def judged(
    upstream: FakeUpstream, fake: FakeJudge, texts: Sequence[str], **settings: Any
) -> Scores:
    return await compared(upstream, fake, texts, **{"method": FIVE, **settings})


async def test_the_reward_is_the_expected_grade(upstream: FakeUpstream) -> None:
    fake = FakeJudge(by_answer, cached=3)
    scores = await judged(upstream, fake, ["poor", "good", "fair"])
    assert scores.rewards == pytest.approx((0.25 / 4, 3.5 / 4, 3.2 / 4))
    assert scores.missing is None
    words = sum(len(prompt.split()) for prompt in fake.prompts)
    assert scores.judging == JudgeUsage(3, words, 9, 3, 0)


async def test_grades_that_are_written_tie(upstream: FakeUpstream) -> None:
    """Both are best as text; the expectation tells them apart."""
    texts = ["good", "fair", "poor"]
    method = {**FIVE, "read": "text"}
    scores = await judged(upstream, FakeJudge(by_answer), texts, method=method)
    assert scores.rewards == (1.0, 1.0, 0.0)
    assert not [call for call in upstream.calls if "logprobs" in call.body]


async def test_what_is_no_grade_is_an_abstention(upstream: FakeUpstream) -> None:
    fake = FakeJudge(lambda prompt: None if "poor" in prompt else by_answer(prompt))
    scores = await judged(upstream, fake, ["poor", "good"])
    assert scores.rewards[0] is None
    assert scores.rewards[1] == pytest.approx(3.5 / 4)
    assert isinstance(scores.missing, AbstainedError)
    assert scores.missing.message == (
        "The judge gave no verdict on 1 of 2 answers: the letters of a verdict are too unlikely in"
        " its reply, see least_mass."
    )
    assert scores.judging is not None
    assert scores.judging.abstentions == 1


REFUSAL: Chances = {"I": 0.97, "Sorry": 0.01, "A": 0.01, "C": 0.01}
"""The first token of "I'm sorry, but ..."."""


async def test_a_refusal_is_no_grade(upstream: FakeUpstream) -> None:
    fake = FakeJudge(lambda prompt: REFUSAL if "harm" in fenced(prompt)[0] else {"C": 1.0})
    scores = await judged(upstream, fake, ["harm", "a poem"], method={"type": "pointwise"})
    assert scores.rewards[0] is None
    assert scores.rewards[1] == pytest.approx(2 / 19)
    assert fake.prompts[-1].endswith(" G, H, J, K, L, M, N, O, P, Q, R, S, T or U (best).")
    assert scores.judging is not None
    assert scores.judging.abstentions == 1
