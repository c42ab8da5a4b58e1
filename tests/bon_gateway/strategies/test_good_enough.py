from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from bon_gateway.protocols import Trace
from bon_gateway.strategies.good_enough import GoodEnoughSettings
from bon_gateway.strategies.referee import Referee
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion
from bon_gateway.types import ChatRequest, Completion, Selection, Stopped

Ask = Callable[..., ChatRequest]


async def run(
    request: ChatRequest, policy: FakePolicy, reward: FakeReward | None = None, **settings: Any
) -> Selection:
    strategy = GoodEnoughSettings(type="good_enough", n=7, **settings).build(Referee())
    return await strategy.run(request, policy, reward or FakeReward(), Trace())


@pytest.mark.parametrize(
    ("threshold", "drawn", "rounds", "stopped"),
    [
        (0.0, 2, 1, Stopped.GOOD_ENOUGH),
        (1.0, 2, 1, Stopped.GOOD_ENOUGH),
        (1.1, 4, 2, Stopped.GOOD_ENOUGH),
        (6.0, 7, 4, Stopped.GOOD_ENOUGH),
        (6.1, 7, 4, Stopped.CAP),
    ],
)
async def test_it_draws_until_one_reaches_the_threshold(
    ask: Ask, threshold: float, drawn: int, rounds: int, stopped: Stopped
) -> None:
    selection = await run(ask(), FakePolicy(), threshold=threshold)
    assert (selection.n, selection.rounds, selection.stopped) == (drawn, rounds, stopped)
    assert selection.winners == (drawn - 1,)
    assert selection.degraded == ()


async def test_a_whole_wave_is_there_to_choose_from(ask: Ask) -> None:
    policy = FakePolicy({0: Act((completion("answer 5"),)), 1: Act((completion("answer 8"),))})
    selection = await run(ask(), policy, threshold=5)
    assert (selection.n, selection.winners) == (2, (1,))


@pytest.mark.parametrize(
    "other",
    [completion("9", finish_reason="length"), completion(" \n")],
    ids=["cut", "blank"],
)
async def test_only_a_whole_answer_is_good_enough(ask: Ask, other: Completion) -> None:
    reward = FakeReward(rule=lambda m: 0.0 if m["content"].startswith("answer") else 99.0)
    selection = await run(ask(), FakePolicy({0: Act((other,))}), reward, threshold=9)
    assert selection.candidates[0].reward == 99.0
    assert (selection.n, selection.stopped) == (7, Stopped.CAP)


async def test_the_client_gets_as_many_as_it_asks_for(ask: Ask) -> None:
    selection = await run(ask(top=3), FakePolicy(), threshold=0)
    assert (selection.n, selection.winners) == (3, (2, 1, 0))


async def test_without_rewards_none_is_good_enough(ask: Ask) -> None:
    selection = await run(ask(), FakePolicy(), FakeReward(failures=99), threshold=-5)
    assert (selection.n, selection.stopped) == (7, Stopped.CAP)
    assert selection.degraded == ("reward_unavailable",)


async def test_one_candidate_alone_says_why_there_was_no_other(ask: Ask) -> None:
    strategy = GoodEnoughSettings(type="good_enough", n=1, threshold=9).build(Referee())
    selection = await strategy.run(ask(), FakePolicy(), FakeReward(), Trace())
    assert (selection.n, selection.stopped) == (1, Stopped.CAP)
    selection = await strategy.run(ask(temperature=0), FakePolicy(), FakeReward(), Trace())
    assert (selection.n, selection.stopped) == (1, None)


def test_the_threshold_has_no_default() -> None:
    with pytest.raises(ValidationError, match="threshold"):
        GoodEnoughSettings(type="good_enough")  # type: ignore[call-arg]
