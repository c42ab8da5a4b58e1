from __future__ import annotations

from collections.abc import Callable

import pytest

from bon_gateway.protocols import Trace
from bon_gateway.strategies.majority_of_the_bests import MajorityOfTheBestsSettings
from bon_gateway.strategies.referee import Referee
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion
from bon_gateway.types import ChatRequest

TEXTS = ("of 0: 7", "of 1: 8", "of 2: 8", "of 3: 8", "of 4: 9")
"""Better and better: the reward is their numbers, one behind the other."""


async def winner(request: ChatRequest, n: int, m: int | None) -> int:
    policy = FakePolicy({i: Act((completion(text),)) for i, text in enumerate(TEXTS)})
    rewards = {text: float(place) for place, text in enumerate(TEXTS)}
    reward = FakeReward(rule=lambda message: rewards[message["content"]])
    settings = MajorityOfTheBestsSettings(type="majority_of_the_bests", n=n, m=m)
    return (await settings.build(Referee()).run(request, policy, reward, Trace())).winners[0]


@pytest.mark.parametrize(("m", "expected"), [(1, 3), (2, 3), (3, 4), (5, 4), (99, 4)])
async def test_m_leads_from_the_majority_to_the_best(
    ask: Callable[..., ChatRequest], m: int, expected: int
) -> None:
    """8 has 6/10 of all pairs, and 4/10 of all threes."""
    assert await winner(ask(), 5, m) == expected


async def test_by_default_m_is_the_root(ask: Callable[..., ChatRequest]) -> None:
    """Of five it is 2, of two 1, where both answers have one vote and the better one wins."""
    assert await winner(ask(), 5, None) == 3
    assert await winner(ask(), 2, None) == 1
