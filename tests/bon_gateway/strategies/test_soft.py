"""Soft best-of-n."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import pytest

from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.soft import SoftSettings
from bon_gateway.types import Candidate, CandidateStatus, ChatRequest

Ask = Callable[..., ChatRequest]


async def test_each_wins_as_often_as_its_reward_says(ask: Ask) -> None:
    rewards = [math.log(4), 0.0, math.log(25), None]
    candidates = [
        Candidate(i, CandidateStatus.FINISHED, reward=reward) for i, reward in enumerate(rewards)
    ]
    strategy = SoftSettings(type="soft", reward_temperature=2.0).build(Referee())
    draws = 4000
    won = Counter([(await strategy.order(ask(seed=s), candidates))[0] for s in range(draws)])
    for position, exact in enumerate([2 / 8, 1 / 8, 5 / 8, 0.0]):
        spread = math.sqrt(exact * (1 - exact) / draws)
        assert won[position] / draws == pytest.approx(exact, abs=4 * spread)
