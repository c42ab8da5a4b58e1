"""Inference-time pessimism."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import pytest

from bon_gateway.strategies.pessimistic import PessimisticSettings
from bon_gateway.strategies.referee import Referee
from bon_gateway.types import Candidate, CandidateStatus, ChatRequest

Ask = Callable[..., ChatRequest]


async def test_each_wins_as_often_as_its_reward_says(ask: Ask) -> None:
    """The one without a reward is not counted among the N."""
    rewards = [2.0, 0.0, 3.0, 1.0, None]
    candidates = [
        Candidate(i, CandidateStatus.FINISHED, reward=reward) for i, reward in enumerate(rewards)
    ]
    strategy = PessimisticSettings(type="pessimistic", beta=1.0).build(Referee())
    draws = 4000
    orders = [await strategy.order(ask(seed=s), candidates) for s in range(draws)]
    won = Counter(order[0] for order in orders)
    for position, exact in enumerate([1 / 3, 0, 7 / 12, 1 / 12, 0]):
        spread = math.sqrt(exact * (1 - exact) / draws)
        assert won[position] / draws == pytest.approx(exact, abs=4 * spread)
    assert {tuple(order[3:]) for order in orders} == {(1, 4)}
