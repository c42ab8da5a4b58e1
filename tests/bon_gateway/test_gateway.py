"""When the whole gateway is ready, how its upstreams' states are told, and what a reload keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from bon_gateway.backends.policy.cached import CachedPolicy
from bon_gateway.backends.reward.ensemble.backend import RewardEnsemble
from bon_gateway.factory import build_gateway
from bon_gateway.gateway import Gateway, same_backends
from bon_gateway.metrics import Metrics
from bon_gateway.protocols import RewardBackend, Trace
from bon_gateway.settings.tree import Settings
from bon_gateway.strategies.referee import Referee
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
    return Gateway(policies, named, {}, Referee())


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


def ensembles(**extra: Any) -> Settings:
    """``extra`` has further keys of a reward. Nothing listens at these addresses, and nothing is
    started."""
    server = {"type": "reward_server", "urls": ["http://127.0.0.1:9"]}
    members = [{"reward": "a"}, {"reward": "b"}]
    rewards: dict[str, dict[str, Any]] = {
        "a": {**server},
        "b": {**server},
        "both": {"type": "ensemble", "members": members},
    }
    for name, keys in extra.items():
        rewards[name] |= keys
    strategy = {"type": "best_of_n", "n": 2}
    return Settings.model_validate(
        {
            "policies": {"p": {"type": "vllm", "urls": ["http://127.0.0.1:9"]}},
            "rewards": rewards,
            "models": {"m": {"policy": "p", "reward": "both", "strategy": strategy}},
        }
    )


def asked_by(gateway: Gateway) -> list[RewardBackend]:
    """The backends that the served model's ensemble asks."""
    reward = gateway.models["m"].reward
    assert isinstance(reward, RewardEnsemble)
    assert reward is gateway.composed_rewards["both"]
    return [member.backend for member in reward._members]


def reloaded(before: Settings, after: Settings) -> tuple[Gateway, Gateway]:
    running = build_gateway(before, Metrics(), {})
    kept = same_backends(before, after)
    new = build_gateway(after, Metrics(), {}).with_backends_of(running, kept)
    return running, new.with_histories_of(running)


def test_what_is_made_of_others_is_no_backend_of_its_own() -> None:
    gateway = build_gateway(ensembles(), Metrics(), {})
    assert list(gateway.backends) == ["policies.p", "rewards.a", "rewards.b"]
    assert asked_by(gateway) == [gateway.rewards["a"], gateway.rewards["b"]]
    assert len(gateway.parts) == 5  # the three, the history and the referee


def test_an_ensemble_of_what_stays_stays() -> None:
    running, new = reloaded(ensembles(), ensembles())
    assert new.models["m"].reward is running.models["m"].reward
    assert new.models["m"].history is running.models["m"].history
    assert asked_by(new) == [running.rewards["a"], running.rewards["b"]]


def test_an_ensemble_never_asks_a_member_that_is_gone() -> None:
    running, new = reloaded(ensembles(), ensembles(b={"connect_timeout_s": 1.0}))
    assert new.rewards["b"] is not running.rewards["b"]
    assert asked_by(new) == [running.rewards["a"], new.rewards["b"]]
    assert asked_by(running) == [running.rewards["a"], running.rewards["b"]]
    assert new.models["m"].history is not running.models["m"].history


def test_a_changed_ensemble_asks_the_members_that_run() -> None:
    running, new = reloaded(ensembles(), ensembles(both={"combine": "min"}))
    assert new.models["m"].reward is not running.models["m"].reward
    assert asked_by(new) == [running.rewards["a"], running.rewards["b"]]


def test_a_name_may_change_its_kind() -> None:
    single = {"type": "reward_server", "urls": ["http://127.0.0.1:9"]}
    tree = ensembles().model_dump(mode="json", exclude_unset=True)
    plain = Settings.model_validate({**tree, "rewards": {**tree["rewards"], "both": single}})
    running, new = reloaded(plain, ensembles())
    assert asked_by(new) == [running.rewards["a"], running.rewards["b"]]
    _, back = reloaded(ensembles(), plain)
    assert back.composed_rewards == {}
    assert back.models["m"].reward is back.rewards["both"]


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
    ("after", "kept", "stays"),
    [
        (mixed(), {"policies.small", "policies.large", "policies.mix"}, True),
        (mixed(large=2.0), {"policies.small", "policies.mix"}, False),
        (mixed(share=2), {"policies.small", "policies.large"}, False),
    ],
    ids=["nothing changes", "a part changes", "the mix changes"],
)
def test_a_mix_is_kept_with_all_its_parts_or_made_anew(
    after: Settings, kept: set[str], stays: bool
) -> None:
    before = mixed()
    assert same_backends(before, after) == kept
    running = build_gateway(before, Metrics(), {})
    gateway = build_gateway(after, Metrics(), {}).with_backends_of(running, kept)
    mix = gateway.models["m"].policy
    assert mix is gateway.composed_policies["mix"]
    assert (mix is running.composed_policies["mix"]) is stays
    for name, policy in gateway.policies.items():
        assert (policy is running.policies[name]) is (f"policies.{name}" in kept)
    assert [*gateway.backends] == ["policies.small", "policies.large"]


@pytest.mark.parametrize("kept", [set(), {"small"}, {"small", "large"}, {"small", "large", "mix"}])
async def test_a_mix_asks_the_policies_of_its_gateway(kept: set[str]) -> None:
    def made() -> tuple[dict[str, FakePolicy], Gateway]:
        fakes = {"small": FakePolicy(), "large": FakePolicy()}
        mix = mixed().composed_policies["mix"].compose(fakes)
        return fakes, Gateway(fakes, {}, {}, Referee(), {"mix": mix})

    old, running = made()
    new, fresh = made()
    gateway = fresh.with_backends_of(running, {f"policies.{name}" for name in kept})
    request = ChatRequest([{"role": "user", "content": "?"}], {}, None, 1, "request")
    await gateway.composed_policies["mix"].sample(request, [0, 1], Trace(), lambda _: None)
    assert gateway.policy("mix") is gateway.composed_policies["mix"]
    for name in ("small", "large"):
        asked = old if name in kept else new
        assert gateway.policy(name) is gateway.policies[name]
        assert gateway.policies[name] is asked[name]
        assert [len(fakes[name].requests) for fakes in (old, new)] == (
            [1, 0] if name in kept else [0, 1]
        )


def with_caches(**policy: Any) -> Settings:
    return Settings.model_validate(
        {
            "policies": {"p": {"type": "vllm", "urls": ["http://h"], "cache": {}, **policy}},
            "rewards": {"r": {"type": "reward_server", "urls": ["http://h"], "cache": {}}},
            "models": {
                "m": {"policy": "p", "reward": "r", "strategy": {"type": "best_of_n", "n": 2}}
            },
        }
    )


@pytest.mark.parametrize(("changed", "kept"), [({}, True), ({"revision": "two"}, False)])
def test_a_reload_keeps_a_cache_whose_settings_are_equal(
    changed: dict[str, Any], kept: bool
) -> None:
    before, after = with_caches(), with_caches(**changed)
    running, new = [build_gateway(settings, Metrics(), {}) for settings in (before, after)]
    joined = new.with_backends_of(running, same_backends(before, after))
    assert (joined.policies["p"] is running.policies["p"]) is kept
    assert joined.rewards["r"] is running.rewards["r"]
    assert isinstance(joined.policies["p"], CachedPolicy)
    assert joined.models["m"].policy is joined.policies["p"]
