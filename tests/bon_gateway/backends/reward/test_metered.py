"""Metrics of a reward's calls, also of calls that return nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from bon_gateway.backends.reward.metered import MeteredReward
from bon_gateway.errors import RewardError
from bon_gateway.judging import JudgeUsage
from bon_gateway.metrics import Metrics
from bon_gateway.testing.fakes import FakeReward
from bon_gateway.types import Message, RewardRequest, Scores
from tests.waiting import until

ANSWERS = [{"role": "assistant", "content": "1"}]
PAID = JudgeUsage(calls=2, prompt_tokens=30, cached_tokens=10, completion_tokens=4, abstentions=1)


def told(metrics: Metrics, name: str) -> dict[str, float]:
    """The judge's calls and tokens in the metrics, by kind."""
    found = {}
    for metric in ("bon_judge_calls_total", "bon_judge_tokens_total"):
        for kind in ("asked", "abstained", "prompt", "cached", "completion"):
            value = metrics.registry.get_sample_value(metric, {"reward": name, "kind": kind})
            if value is not None:
                found[kind] = value
    return found


@pytest.mark.parametrize("failures", [0, 1])
async def test_calls_are_counted_whether_or_not_they_succeed(failures: int) -> None:
    metrics, request = Metrics(), RewardRequest([])
    reward = MeteredReward("r", FakeReward(judging=PAID, failures=failures), metrics)
    if failures:
        with pytest.raises(RewardError):
            await reward.score(request, ANSWERS)
    else:
        await reward.score(request, ANSWERS)
    expected = {"asked": 2, "abstained": 1, "prompt": 30, "cached": 10, "completion": 4}
    assert told(metrics, "r") == expected
    assert request.bill.usage == PAID


async def test_a_call_that_is_cancelled_is_counted() -> None:
    metrics, request = Metrics(), RewardRequest([])
    fake = FakeReward(judging=PAID, delay=60)
    scoring = asyncio.create_task(MeteredReward("r", fake, metrics).score(request, ANSWERS))
    await until(lambda: bool(fake.calls))
    scoring.cancel()
    await asyncio.gather(scoring, return_exceptions=True)
    assert told(metrics, "r")["asked"] == 2
    assert request.bill.usage == PAID


async def test_two_rewards_share_a_bill_and_not_their_counts() -> None:
    metrics, request = Metrics(), RewardRequest([])
    rewards = [
        MeteredReward(name, FakeReward(judging=PAID, delay=0.01), metrics) for name in ("a", "b")
    ]
    await asyncio.gather(*(reward.score(request, ANSWERS) for reward in rewards))
    assert (told(metrics, "a")["asked"], told(metrics, "b")["asked"]) == (2, 2)
    assert request.bill.usage == PAID + PAID


async def test_all_calls_for_one_request_are_about_one_object() -> None:
    """A reward model keeps things for it as long as it lives."""
    asked: list[RewardRequest] = []

    class Remembering(FakeReward):
        async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
            asked.append(request)
            return await FakeReward.score(self, request, completions)

    reward = MeteredReward("r", Remembering(), Metrics())
    first, second = RewardRequest([]), RewardRequest([])
    for request in (first, first, second):
        await reward.score(request, ANSWERS)
    assert asked[0] is asked[1]
    assert asked[0] is not asked[2]
