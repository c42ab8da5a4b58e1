"""Rewards from a function of the operator's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from bon_gateway.backends.reward.hook import HookReward, HookRewardSettings
from bon_gateway.errors import RewardError
from bon_gateway.types import Caller, Message, RewardRequest

ANSWERS = [{"role": "assistant", "content": text} for text in ("one", "three")]
QUESTION = [{"role": "user", "content": "?"}]
busy = threading.Lock()


def length(messages: Sequence[Message], completions: Sequence[Message]) -> list[float]:
    assert messages == QUESTION
    assert busy.acquire(blocking=False), "several calls at once"
    busy.release()
    return [len(answer["content"]) for answer in completions]


async def waiting(messages: Sequence[Message], completions: Sequence[Message]) -> list[float]:
    await asyncio.sleep(0)
    return length(messages, completions)


def too_few(messages: Sequence[Message], completions: Sequence[Message]) -> list[float]:
    return [1.0]


def endless(messages: Sequence[Message], completions: Sequence[Message]) -> list[float]:
    return [float("nan"), 1.0]


def broken(messages: Sequence[Message], completions: Sequence[Message]) -> list[float]:
    raise ZeroDivisionError


def made(function: str) -> HookReward:
    settings = HookRewardSettings(type="hook", function=f"{__name__}:{function}")
    settings.check()
    return settings.build(key=None)


@pytest.mark.parametrize("function", ["length", "waiting"])
async def test_every_answer_gets_its_reward(function: str) -> None:
    reward = made(function)
    await reward.start()
    assert reward.ready()
    assert reward.health() == {f"{__name__}:{function}": "up"}
    several = await asyncio.gather(
        *(reward.score(RewardRequest(QUESTION), ANSWERS) for _ in range(4))
    )
    assert {scores.rewards for scores in several} == {(3.0, 5.0)}
    assert (await reward.score(RewardRequest(QUESTION), [])).rewards == ()
    await reward.close()


@pytest.mark.parametrize("function", ["too_few", "endless", "broken"])
async def test_a_failure_is_the_fallback_s_business_and_in_the_log(
    function: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RewardError, match="could not be scored"):
        await made(function).score(RewardRequest(QUESTION, caller=Caller("request-7")), ANSWERS)
    [record] = caplog.records
    fields = vars(record)["fields"]
    assert (fields["function"], fields["request_id"]) == (f"{__name__}:{function}", "request-7")
