"""Rewards that compare the answers of one call: one call has all candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from bon_gateway.api.override import resolve_strategy
from bon_gateway.api.schema import BonWire
from bon_gateway.errors import BadRequestError
from bon_gateway.judging import JudgeUsage
from bon_gateway.protocols import Trace
from bon_gateway.sections.server import LimitsSettings
from bon_gateway.settings.tree import ServedModelSettings, Settings
from bon_gateway.strategies.best_of_n import BestOfN, BestOfNSettings
from bon_gateway.strategies.registry import KINDS
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion
from bon_gateway.types import ChatRequest, Message, RewardRequest, Scores, Selection

STEADY = {"adaptive", "good_enough", "pruning", "cascade"}


async def run(policy: FakePolicy, reward: FakeReward, **settings: Any) -> Selection:
    request = ChatRequest([{"role": "user", "content": "?"}], {}, None, 1, "request")
    strategy = BestOfN(BestOfNSettings(type="best_of_n", n=4, **settings))
    return await strategy.run(request, policy, reward, Trace())


async def test_candidates_that_come_one_by_one_are_scored_in_one_call() -> None:
    acts = {i: Act((completion(f"answer {i}"),), delay=0.04 * i) for i in range(4)}
    comparing = FakeReward(compares=True)
    selection = await run(FakePolicy(acts), comparing)
    assert [len(call) for call in comparing.calls] == [4]
    assert selection.winners == (3,)
    # The same candidates without it need several calls, or this test shows nothing.
    apart = FakeReward()
    await run(FakePolicy(acts), apart)
    assert len(apart.calls) > 1


async def test_a_call_that_fails_is_tried_again_as_a_whole() -> None:
    reward = FakeReward(compares=True, failures=1)
    selection = await run(FakePolicy(), reward, retries=2)
    assert [len(call) for call in reward.calls] == [4, 4]
    assert (selection.winners, selection.degraded) == ((3,), ())


async def test_a_call_that_goes_on_failing_leaves_no_reward() -> None:
    reward = FakeReward(compares=True, failures=9)
    selection = await run(FakePolicy(), reward, retries=1)
    assert [len(call) for call in reward.calls] == [4, 4]
    assert (selection.winners, selection.degraded) == ((0,), ("reward_unavailable",))


class Judging(FakeReward):
    """Costs the same in every call."""

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        scores = await FakeReward.score(self, request, completions)
        usage = JudgeUsage(2, 30, 20, 4, 1)
        return Scores(scores.rewards, scores.tokens, judging=usage, left_out=("b", "a"))


async def test_what_judging_costs_is_added_up_and_what_was_left_out_is_told() -> None:
    acts = {i: Act((completion(f"answer {i}"),), delay=0.1 * i) for i in range(2)}
    request = ChatRequest([{"role": "user", "content": "?"}], {}, None, 1, "request")
    strategy = BestOfN(BestOfNSettings(type="best_of_n", n=2))
    reward = Judging()
    selection = await strategy.run(request, FakePolicy(acts), reward, Trace())
    assert len(reward.calls) == 2
    assert selection.usage.judging == JudgeUsage(4, 60, 40, 8, 2)
    assert selection.degraded == ("rewards_left_out",)


def test_strategies_that_need_steady_rewards_are_known() -> None:
    """A new strategy has to be thought about: this list is not derived from anything."""
    assert {
        kind.model_fields["type"].annotation.__args__[0]  # type: ignore[union-attr]
        for kind in KINDS
        if kind.needs_steady_rewards
    } == STEADY


def test_a_request_cannot_choose_such_a_strategy() -> None:
    served = ServedModelSettings(policy="p", reward="r", strategy=BestOfNSettings(type="best_of_n"))
    wire = BonWire(strategy="adaptive")
    assert resolve_strategy(wire, served, LimitsSettings()).type == "adaptive"
    with pytest.raises(BadRequestError, match="only compares") as refused:
        resolve_strategy(wire, served, LimitsSettings(), compares=True)
    assert refused.value.param == "bon.strategy"


@pytest.mark.parametrize("strategy", sorted(STEADY))
@pytest.mark.parametrize("method", ["pointwise", "pairwise", "listwise"])
def test_settings_refuse_a_judge_that_compares_where_rewards_must_be_steady(
    strategy: str, method: str
) -> None:
    urls = ["http://127.0.0.1:1"]
    more: dict[str, dict[str, Any]] = {
        "good_enough": {"threshold": 0.5},
        "cascade": {"threshold": 0.5, "first": "p"},
    }
    tree = {
        "policies": {"p": {"type": "vllm", "urls": urls}},
        "rewards": {"j": {"type": "judge", "urls": urls, "method": {"type": method}}},
        "models": {
            "m": {
                "policy": "p",
                "reward": "j",
                "strategy": {"type": strategy, **more.get(strategy, {})},
            }
        },
    }
    if method == "pointwise":
        Settings.model_validate(tree)
        return
    with pytest.raises(
        ValueError, match=rf"models\.m\.strategy: {strategy} needs rewards that compare across"
    ):
        Settings.model_validate(tree)
