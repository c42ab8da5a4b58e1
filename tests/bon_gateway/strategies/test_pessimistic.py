"""Inference-time pessimism."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import pytest
from pydantic import ValidationError

from bon_gateway.errors import RewardError
from bon_gateway.protocols import Trace
from bon_gateway.strategies.judge import Judge
from bon_gateway.strategies.pessimistic import PessimisticSettings
from bon_gateway.testing.fakes import FakePolicy, FakeReward
from bon_gateway.types import Candidate, CandidateStatus, ChatRequest, Selection

Ask = Callable[..., ChatRequest]


async def run(
    request: ChatRequest, reward: FakeReward, beta: float, fallback: str = "first"
) -> Selection:
    settings = {"n": 4, "retries": 0, "beta": beta, "fallback": fallback}
    strategy = PessimisticSettings.model_validate({"type": "pessimistic", **settings})
    return await strategy.build(Judge()).run(request, FakePolicy(), reward, Trace())


async def test_each_wins_as_often_as_its_reward_says(ask: Ask) -> None:
    """The one without a reward is not counted among the N."""
    rewards = [2.0, 0.0, 3.0, 1.0, None]
    candidates = [
        Candidate(i, CandidateStatus.FINISHED, reward=reward) for i, reward in enumerate(rewards)
    ]
    strategy = PessimisticSettings(type="pessimistic", beta=1.0).build(Judge())
    draws = 4000
    orders = [await strategy.order(ask(seed=s), candidates) for s in range(draws)]
    won = Counter(order[0] for order in orders)
    for position, exact in enumerate([1 / 3, 0, 7 / 12, 1 / 12, 0]):
        spread = math.sqrt(exact * (1 - exact) / draws)
        assert won[position] / draws == pytest.approx(exact, abs=4 * spread)
    assert {tuple(order[3:]) for order in orders} == {(1, 4)}


async def test_a_seed_repeats_the_choice(ask: Ask) -> None:
    orders = []
    for seed in (*range(20), *range(20)):
        selection = await run(ask(seed=seed, top=4), FakeReward(), 10.0)
        assert sorted(selection.winners) == [0, 1, 2, 3]
        orders.append(selection.winners)
    assert orders[:20] == orders[20:]
    assert len({order[0] for order in orders}) > 1
    assert selection.strategy == "pessimistic"


async def test_a_clear_lead_wins_whatever_the_seed(ask: Ask) -> None:
    for seed in range(20):
        selection = await run(ask(seed=seed, top=4), FakeReward(), 0.25)
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


@pytest.mark.parametrize("beta", [0, -1, float("inf"), float("nan")])
def test_betas_that_are_refused(beta: float) -> None:
    with pytest.raises(ValidationError, match="beta"):
        PessimisticSettings(type="pessimistic", beta=beta)
