"""Soft best-of-n."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import pytest
from pydantic import ValidationError

from bon_gateway.errors import BadRequestError, RewardError
from bon_gateway.protocols import Trace
from bon_gateway.strategies.judge import Judge
from bon_gateway.strategies.soft import SoftSettings
from bon_gateway.testing.fakes import FakePolicy, FakeReward
from bon_gateway.types import Candidate, CandidateStatus, ChatRequest, Selection

Ask = Callable[..., ChatRequest]


async def run(
    request: ChatRequest, reward: FakeReward, temperature: float, fallback: str = "first"
) -> Selection:
    settings = {"n": 4, "retries": 0, "reward_temperature": temperature, "fallback": fallback}
    strategy = SoftSettings.model_validate({"type": "soft", **settings}).build(Judge())
    return await strategy.run(request, FakePolicy(), reward, Trace())


async def test_each_wins_as_often_as_its_reward_says(ask: Ask) -> None:
    rewards = [math.log(4), 0.0, math.log(25), None]
    candidates = [
        Candidate(i, CandidateStatus.FINISHED, reward=reward) for i, reward in enumerate(rewards)
    ]
    strategy = SoftSettings(type="soft", reward_temperature=2.0).build(Judge())
    draws = 4000
    won = Counter([(await strategy.order(ask(seed=s), candidates))[0] for s in range(draws)])
    for position, exact in enumerate([2 / 8, 1 / 8, 5 / 8, 0.0]):
        spread = math.sqrt(exact * (1 - exact) / draws)
        assert won[position] / draws == pytest.approx(exact, abs=4 * spread)


async def test_a_seed_repeats_the_choice(ask: Ask) -> None:
    orders = []
    for seed in (*range(20), *range(20)):
        selection = await run(ask(seed=seed, top=4), FakeReward(), 2.0)
        assert sorted(selection.winners) == [0, 1, 2, 3]
        orders.append(selection.winners)
    assert orders[:20] == orders[20:]
    assert len({order[0] for order in orders}) > 1
    assert selection.strategy == "soft"


async def test_without_a_seed_the_choice_varies(ask: Ask) -> None:
    orders = {(await run(ask(top=4), FakeReward(), 1e9)).winners for _ in range(12)}
    assert len(orders) > 1


async def test_a_low_temperature_takes_the_best(ask: Ask) -> None:
    for seed in range(20):
        selection = await run(ask(seed=seed, top=4), FakeReward(), 1e-6)
        assert selection.winners == (3, 2, 1, 0)


async def test_the_fallback_decides_where_the_reward_model_fails(ask: Ask) -> None:
    for seed in range(10):
        selection = await run(ask(seed=seed), FakeReward(failures=9), 1e9)
        assert (selection.winners, selection.degraded) == ((0,), ("reward_unavailable",))
    with pytest.raises(RewardError):
        await run(ask(), FakeReward(failures=9), 1.0, fallback="error")


async def test_temperature_zero_draws_one(ask: Ask) -> None:
    selection = await run(ask(temperature=0.0, seed=5), FakeReward(), 1.0)
    assert (selection.n, selection.winners) == (1, (0,))
    with pytest.raises(BadRequestError, match="at temperature 0"):
        await run(ask(temperature=0.0, top=2), FakeReward(), 1.0)


@pytest.mark.parametrize("temperature", [0, -1, float("inf"), float("nan")])
def test_temperatures_that_are_refused(temperature: float) -> None:
    with pytest.raises(ValidationError, match="reward_temperature"):
        SoftSettings(type="soft", reward_temperature=temperature)
