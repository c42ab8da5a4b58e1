from __future__ import annotations

from collections.abc import Callable

from bon_gateway.protocols import Trace
from bon_gateway.strategies.judge import Judge
from bon_gateway.strategies.majority import MajoritySettings
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion
from bon_gateway.types import ChatRequest


async def test_with_and_without_rewards(ask: Callable[..., ChatRequest]) -> None:
    texts = ("9", "8", "the 7", "number 7")
    policy = FakePolicy({i: Act((completion(text),)) for i, text in enumerate(texts)})
    strategy = MajoritySettings(type="majority", n=4).build(Judge())
    assert not MajoritySettings.needs_reward
    assert (await strategy.run(ask(top=4), policy, None, Trace())).winners == (2, 0, 1, 3)
    long = FakeReward(rule=lambda message: float(len(message["content"])))
    assert (await strategy.run(ask(), policy, long, Trace())).winners == (3,)
