from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from bon_common.selection.adaptive.gain import learn_gain
from bon_gateway.errors import BadRequestError, RewardError
from bon_gateway.protocols import Trace
from bon_gateway.replay.clock import VirtualLoop
from bon_gateway.strategies.adaptive import AdaptiveStrategySettings
from bon_gateway.strategies.referee import Referee
from bon_gateway.testing.fakes import (
    Act,
    FakeHistory,
    FakePolicy,
    FakeReward,
    completion,
    reward_of_digits,
)
from bon_gateway.types import ChatRequest, Message, Selection, Stopped

Ask = Callable[..., ChatRequest]
_source = random.Random(1)
_learnt = learn_gain([[_source.gauss(3, 2) for _ in range(16)] for _ in range(60)])
assert _learnt is not None
MODEL = _learnt


def gain(rewards: list[float]) -> float:
    return MODEL.gain(rewards)


def learnt(price: float) -> FakeHistory:
    return FakeHistory(MODEL, tokens=3.0, prices={8: price})


async def run(
    request: ChatRequest,
    history: FakeHistory | None,
    *,
    policy: FakePolicy | None = None,
    reward: FakeReward | None = None,
    **settings: Any,
) -> Selection:
    strategy = AdaptiveStrategySettings(type="adaptive", **{"wave": 2, **settings}).build(Referee())
    trace = Trace(history=history)
    return await strategy.run(request, policy or FakePolicy(), reward or FakeReward(), trace)


def told(selection: Selection) -> tuple[int, int, Stopped | None]:
    return selection.n, selection.rounds, selection.stopped


@pytest.mark.parametrize("history", [None, FakeHistory(), FakeHistory(MODEL, 3.0)])
async def test_before_enough_is_known_it_is_best_of_n(
    ask: Ask, history: FakeHistory | None
) -> None:
    selection = await run(ask(), history)
    assert told(selection) == (8, 1, Stopped.TARGET)
    assert selection.winners == (7,)
    assert selection.degraded == ()


async def test_a_request_that_others_learn_from_draws_all_at_once(ask: Ask) -> None:
    history = FakeHistory(MODEL, 3.0, {3: 1e9}, wants=True)
    selection = await run(ask(), history, n=3)
    assert told(selection) == (6, 1, Stopped.LEARNING)
    assert selection.winners == (5,)
    assert history.added == [([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 18)]


async def test_what_stopped_early_is_not_remembered(ask: Ask) -> None:
    history = learnt(1e9)
    await run(ask(), history)
    await run(ask(), FakeHistory())
    assert history.added == []


async def test_it_stops_when_another_is_not_worth_its_price(ask: Ask) -> None:
    two, four = gain([0.0, 1.0]), gain([0.0, 1.0, 2.0, 3.0])
    history = learnt((two + four) / 2)
    selection = await run(ask(), history)
    assert told(selection) == (4, 2, Stopped.PRICE)
    assert selection.winners == (3,)
    assert told(await run(ask(), learnt(1.01 * two))) == (2, 1, Stopped.PRICE)
    assert told(await run(ask(), learnt(0.99 * four)))[0] > 4


async def test_at_price_0_it_draws_up_to_the_cap(ask: Ask) -> None:
    assert told(await run(ask(), learnt(0.0))) == (16, 8, Stopped.CAP)
    assert told(await run(ask(), learnt(0.0), cap=11, wave=4)) == (11, 3, Stopped.CAP)


async def test_a_high_price_leaves_the_first_wave(ask: Ask) -> None:
    assert told(await run(ask(), learnt(1e9))) == (2, 1, Stopped.PRICE)
    assert told(await run(ask(), learnt(1e9), first_wave=5)) == (5, 1, Stopped.PRICE)
    assert told(await run(ask(top=7), learnt(1e9))) == (7, 1, Stopped.PRICE)
    assert told(await run(ask(), learnt(1e9), wave=1)) == (2, 1, Stopped.PRICE)


async def test_a_price_per_token_takes_the_place_of_the_target(ask: Ask) -> None:
    per_token = (gain([0.0, 1.0]) + gain([0.0, 1.0, 2.0, 3.0])) / 2 / 30
    history = FakeHistory(MODEL, tokens=30.0, prices={8: 0.0})
    assert told(await run(ask(), history, price_per_token=per_token)) == (4, 2, Stopped.PRICE)
    history.tokens = 40.0 * 30
    assert told(await run(ask(), history, price_per_token=per_token)) == (2, 1, Stopped.PRICE)
    history.tokens = None
    assert told(await run(ask(), history, price_per_token=per_token)) == (8, 1, Stopped.TARGET)


def test_a_price_for_time_stops_a_slow_request_sooner(ask: Ask) -> None:
    """Waves of two take 10 s, so that each of its candidates costs 5 s."""

    def told_at(price_per_ms: float | None) -> tuple[int, int, Stopped | None]:
        acts = {i: Act((completion(f"answer {i}"),), delay=10.0) for i in range(16)}
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            work = run(ask(), learnt(0.0), policy=FakePolicy(acts), price_per_ms=price_per_ms)
            return told(runner.run(asyncio.wait_for(work, 10_000)))

    two, four = gain([0.0, 1.0]), gain([0.0, 1.0, 2.0, 3.0])
    assert told_at(None) == (16, 8, Stopped.CAP)
    assert told_at((two + four) / 2 / 5000) == (4, 2, Stopped.PRICE)
    assert told_at(1.01 * two / 5000) == (2, 1, Stopped.PRICE)
    assert told_at(0.99 * two / 5000)[0] > 2


async def test_the_order_within_a_wave_does_not_matter(ask: Ask) -> None:
    texts = [f"answer {reward}" for reward in (5, 1, 4, 2)]
    stops = set()
    for order in ([0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]):
        acts = {place: Act((completion(texts[i]),)) for place, i in enumerate(order)}
        history = learnt(gain([1.0, 2.0, 4.0, 5.0]))
        selection = await run(ask(), history, policy=FakePolicy(acts), wave=4)
        stops.add(told(selection))
    assert len(stops) == 1


def one_is_no_number(message: Message) -> float:
    return math.nan if message["content"] == "answer 1" else reward_of_digits(message)


def one_is_lost(message: Message) -> float:
    if message["content"] == "answer 1":
        raise RewardError("too long")
    return reward_of_digits(message)


@pytest.mark.parametrize(
    ("reward", "degraded"),
    [
        (FakeReward(failures=99), ("reward_unavailable",)),
        (FakeReward(rule=one_is_no_number), ()),
        (FakeReward(rule=one_is_lost), ("reward_unavailable",)),
        (FakeReward(rule=lambda m: 1e200 * reward_of_digits(m)), ()),
    ],
    ids=[
        "the reward model is down",
        "one is no number",
        "one is missing",
        "too large",
    ],
)
async def test_rewards_that_say_nothing_make_it_best_of_n(
    ask: Ask, reward: FakeReward, degraded: tuple[str, ...]
) -> None:
    selection = await run(ask(), learnt(1e9), reward=reward, wave=3)
    assert told(selection) == (8, 2, Stopped.TARGET)
    assert selection.degraded == degraded
    history = FakeHistory(wants=True)
    await run(ask(), history, reward=reward)
    assert history.added == [], "nothing can be learnt from them"


async def test_equal_rewards_say_that_there_is_little_to_gain(ask: Ask) -> None:
    """Others learn from them, too: without them rewards would seem more varied than they are."""
    same = FakeReward(rule=lambda _: 4.0)
    assert told(await run(ask(), learnt(1e9), reward=same)) == (2, 1, Stopped.PRICE)
    history = FakeHistory(wants=True)
    await run(ask(), history, reward=same)
    assert history.added == [([4.0] * 16, 48)]


async def test_candidates_that_cannot_win_do_not_count(ask: Ask) -> None:
    cut = Act((completion("answer 99", finish_reason="length"),))
    history = learnt(1e9)
    selection = await run(ask(), history, policy=FakePolicy({0: cut}), wave=3)
    assert told(selection) == (3, 1, Stopped.PRICE)
    assert selection.winners == (2,)
    history.wants = True
    await run(ask(), history, policy=FakePolicy({0: cut}), n=2)
    assert history.added == [([None, 1.0, 2.0, 3.0], 12)]


async def test_a_wave_without_two_that_may_win_says_nothing(ask: Ask) -> None:
    """It draws up to ``n``, and then the rewards of the others decide."""
    empty = FakePolicy({0: Act((completion(""),))})
    assert told(await run(ask(), learnt(1e9), policy=empty)) == (8, 2, Stopped.PRICE)


async def test_what_a_deadline_cut_is_not_remembered(ask: Ask) -> None:
    history = FakeHistory(wants=True)
    selection = await run(ask(), history, policy=FakePolicy({7: Act()}), deadline_ms=300)
    assert told(selection) == (16, 1, Stopped.DEADLINE)
    assert selection.degraded == ("deadline",)
    assert history.added == []


async def test_temperature_zero_draws_one(ask: Ask) -> None:
    history = learnt(0.0)
    assert told(await run(ask(temperature=0), history)) == (1, 1, None)
    assert history.added == []


async def test_the_client_may_ask_for_no_more_than_n(ask: Ask) -> None:
    with pytest.raises(BadRequestError, match="at most 8"):
        await run(ask(top=9), learnt(0.0))


def test_the_cap_is_above_n() -> None:
    assert AdaptiveStrategySettings(type="adaptive").drawn == 16
    assert AdaptiveStrategySettings(type="adaptive", n=4, cap=5).drawn == 5
    with pytest.raises(ValidationError, match=r"cap\n  Value error, must be above n \(4\), got 4"):
        AdaptiveStrategySettings(type="adaptive", n=4, cap=4)
