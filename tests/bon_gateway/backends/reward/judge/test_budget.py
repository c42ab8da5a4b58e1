"""What a budget of calls is enough for."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bon_gateway.backends.reward.judge.settings import JudgeSettings
from bon_gateway.testing.judges import FakeJudge
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import RewardRequest
from tests.bon_gateway.backends.support import MESSAGES, after_warm_up, judge, started

TWENTY = [{"text": f"Is it good in way {place}?"} for place in range(20)]
FAIR = FakeJudge(lambda prompt: {"A": 0.6, "B": 0.4})


def settings(calls: int, **method: Any) -> JudgeSettings:
    return JudgeSettings.model_validate(
        {"type": "judge", "urls": ["http://judge"], "method": method, "budget": {"calls": calls}}
    )


@pytest.mark.parametrize(
    ("calls", "method", "message"),
    [
        (39, {"type": "pointwise", "criteria": TWENTY, "repeats": 2}, "one answer takes 40 calls"),
        (3, {"type": "generative_scoring", "levels": 5}, "one answer takes 4 calls"),
        (1, {"type": "pairwise"}, "one pair takes 2 calls"),
        (1, {"type": "pairwise", "tournament": "pivot"}, "one pair takes 2 calls"),
    ],
)
def test_a_budget_that_can_give_no_reward_is_refused(
    calls: int, method: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=f"budget.calls: {message}; raise it"):
        settings(calls, **method)
    settings(calls + 1, **method)


@pytest.mark.parametrize(
    ("calls", "method", "answers", "short"),
    [
        (64, {"type": "pointwise"}, 64, None),
        (
            64,
            {"type": "pointwise", "criteria": TWENTY},
            8,
            "budget.calls (64) is enough for 3; 8 answers take 160 calls",
        ),
        (4, {"type": "generative_scoring", "levels": 5}, 64, None),
        (14, {"type": "pairwise"}, 8, None),
        (13, {"type": "pairwise"}, 8, "budget.calls (13) is enough for 7; 8 answers take 14 calls"),
        (7, {"type": "pairwise", "both_orders": False}, 8, None),
        (
            20,
            {"type": "pairwise", "tournament": "pivot"},
            8,
            "budget.calls (20) is enough for 6; 8 answers take 28 calls",
        ),
        (1, {"type": "pairwise", "both_orders": False}, 1, None),
        (4, {"type": "listwise"}, 8, None),
        (
            3,
            {"type": "listwise"},
            8,
            "budget.calls (3) is too small for all repeats; 8 answers take 4 calls",
        ),
        (
            1,
            {"type": "listwise"},
            20,
            "budget.calls (1) is enough for 10; 20 answers take 8 calls",
        ),
    ],
)
def test_it_says_for_how_many_answers_it_is_enough(
    calls: int, method: dict[str, Any], answers: int, short: str | None
) -> None:
    assert settings(calls, **method).short_of(answers) == short


@pytest.mark.parametrize("count", [2, 3, 8, 13])
@pytest.mark.parametrize(
    "method",
    [
        {"type": "pointwise", "levels": 2, "criteria": TWENTY[:2]},
        {"type": "generative_scoring", "levels": 3},
        {"type": "pairwise"},
        {"type": "pairwise", "tournament": "pivot"},
        {"type": "listwise"},
        {"type": "listwise", "longest": 3},
    ],
    ids=str,
)
async def test_with_the_least_calls_each_answer_has_a_reward(
    upstream: FakeUpstream, method: dict[str, Any], count: int
) -> None:
    least = settings(1000, **method).method.least_calls(count)
    answers = [{"role": "assistant", "content": f"answer {place}"} for place in range(count)]
    for calls in (least, least - 1):
        upstream.script = FAIR
        # One fewer may be refused at the start.
        if calls < settings(1000, **method).method.least_calls(2):
            continue
        backend = judge(upstream, method=method, budget={"calls": calls})
        async with started(backend):
            after_warm_up(upstream, FAIR)
            scores = await backend.score(RewardRequest(MESSAGES), answers)
        assert (None in scores.rewards) == (calls < least)
