"""When the whole gateway is ready, and how its upstreams' states are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from bon_gateway.factory import build_gateway
from bon_gateway.gateway import Gateway, same_backends
from bon_gateway.metrics import Metrics
from bon_gateway.protocols import Trace
from bon_gateway.settings.tree import Settings
from bon_gateway.strategies.judge import Judge
from bon_gateway.testing.fakes import FakePolicy, FakeReward
from bon_gateway.types import ChatRequest


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


def mixed(large: float = 1.0, share: int = 1) -> Settings:
    def plain(timeout_s: float) -> dict[str, Any]:
        return {"type": "vllm", "urls": ["http://127.0.0.1:9"], "timeout_s": timeout_s}

    of = [{"policy": "small"}, {"policy": "large", "share": share}]
    return Settings.model_validate(
        {
            "policies": {
                "small": plain(1.0),
                "large": plain(large),
                "mix": {"type": "variants", "of": of},
            },
            "models": {"m": {"policy": "mix", "strategy": {"type": "majority"}}},
        }
    )


@pytest.mark.parametrize(
    ("after", "kept"),
    [
        (mixed(), {"policies.small", "policies.large", "policies.mix"}),
        (mixed(large=2.0), {"policies.small"}),
        (mixed(share=2), {"policies.small", "policies.large"}),
    ],
    ids=["nothing changes", "a part changes", "the mix changes"],
)
def test_a_mix_is_kept_with_all_its_parts_or_made_anew(after: Settings, kept: set[str]) -> None:
    before = mixed()
    assert same_backends(before, after) == kept
    running = build_gateway(before, Metrics(), {})
    gateway = build_gateway(after, Metrics(), {}).with_backends_of(running, kept)
    mix = gateway.models["m"].policy
    assert mix is gateway.mixes["mix"]
    assert (mix is running.mixes["mix"]) is ("policies.mix" in kept)
    for name, policy in gateway.policies.items():
        assert (policy is running.policies[name]) is (f"policies.{name}" in kept)
    assert [*gateway.backends] == ["policies.small", "policies.large"]


@pytest.mark.parametrize("kept", [set(), {"small"}, {"small", "large"}, {"small", "large", "mix"}])
async def test_a_mix_asks_the_policies_of_its_gateway(kept: set[str]) -> None:
    def made() -> tuple[dict[str, FakePolicy], Gateway]:
        fakes = {"small": FakePolicy(), "large": FakePolicy()}
        return fakes, Gateway(fakes, {}, {}, Judge(), {"mix": mixed().mixes["mix"].build(fakes)})

    old, running = made()
    new, fresh = made()
    gateway = fresh.with_backends_of(running, {f"policies.{name}" for name in kept})
    request = ChatRequest([{"role": "user", "content": "?"}], {}, None, 1, "request")
    await gateway.mixes["mix"].sample(request, [0, 1], Trace(), lambda _: None)
    assert gateway.policy("mix") is gateway.mixes["mix"]
    for name in ("small", "large"):
        asked = old if name in kept else new
        assert gateway.policy(name) is gateway.policies[name]
        assert gateway.policies[name] is asked[name]
        assert [len(fakes[name].requests) for fakes in (old, new)] == (
            [1, 0] if name in kept else [0, 1]
        )
