"""When the whole gateway is ready, and how its upstreams' states are told."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bon_gateway.gateway import Gateway
from bon_gateway.strategies.judge import Judge
from bon_gateway.testing.fakes import FakePolicy, FakeReward


@dataclass(slots=True)
class Reward(FakeReward):
    is_ready: bool = True
    is_warming: bool = False

    def ready(self) -> bool:
        return self.is_ready

    def warming(self) -> bool:
        return self.is_warming

    def health(self) -> dict[str, str]:
        return {"one": "up", "two": "warming"}


def gateway(policy: FakePolicy, *rewards: Reward) -> Gateway:
    named = {f"r{number}": reward for number, reward in enumerate(rewards)}
    policies = {"p": policy, "q": FakePolicy(is_ready=False)}
    return Gateway(policies, named, {}, Judge())


@pytest.mark.parametrize(
    ("policy", "reward", "ready"),
    [
        (FakePolicy(), Reward(), True),
        (FakePolicy(is_ready=False), Reward(), False),
        (FakePolicy(), Reward(is_ready=False, is_warming=True), False),
        (FakePolicy(), Reward(is_ready=False), True),
    ],
    ids=["all is well", "no policy", "a reward model that never came up", "one that went down"],
)
def test_it_is_ready(policy: FakePolicy, reward: Reward, ready: bool) -> None:
    assert gateway(policy, Reward(), reward).ready() is ready


def test_states_are_told_by_backend_and_by_upstream() -> None:
    both = gateway(FakePolicy(), Reward())
    assert both.states() == {
        "policies.p": {"fake": "up"},
        "policies.q": {"fake": "ejected"},
        "rewards.r0": {"one": "up", "two": "warming"},
    }
    assert both.health() == {
        "policies.p.fake": "up",
        "policies.q.fake": "ejected",
        "rewards.r0.one": "up",
        "rewards.r0.two": "warming",
    }
