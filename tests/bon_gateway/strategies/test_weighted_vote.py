from __future__ import annotations

from collections.abc import Callable

import pytest

from bon_gateway.protocols import Trace
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.weighted_vote import WeightedVoteSettings
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion
from bon_gateway.types import ChatRequest


@pytest.mark.parametrize(
    ("temperature", "winner"),
    [(1.0, 2), (100.0, 1)],  # exp(-1) against 2 exp(-3); 0.99 against 1.94
)
async def test_temperature_decides_between_one_good_and_two_others(
    ask: Callable[..., ChatRequest], temperature: float, winner: int
) -> None:
    policy = FakePolicy({i: Act((completion(t),)) for i, t in enumerate(("7, so", "7 so", "8"))})
    rewards = {"7, so": -3.1, "7 so": -3.0, "8": -1.0}
    reward = FakeReward(rule=lambda message: rewards[message["content"]])
    settings = WeightedVoteSettings(type="weighted_vote", n=3, reward_temperature=temperature)
    selection = await settings.build(Referee()).run(ask(), policy, reward, Trace())
    assert selection.winners == (winner,)
