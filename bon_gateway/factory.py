"""The only place where settings become objects. Heavy libraries are imported here, when needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial

from bon_gateway.auth import check_upstream_keys, upstream_key
from bon_gateway.backends.policy.vllm.policy import VllmPolicy
from bon_gateway.backends.reward.metered import MeteredReward
from bon_gateway.backends.reward.reward_server import RewardServerBackend
from bon_gateway.backends.reward.vllm_classify import VllmClassifyBackend
from bon_gateway.gateway import Gateway, ServedModel
from bon_gateway.metrics import Metrics
from bon_gateway.protocols import PolicyBackend, RewardBackend, Strategy
from bon_gateway.settings.tree import (
    BestOfNSettings,
    FirstKSettings,
    HttpRewardSettings,
    PolicySettings,
    RewardServerSettings,
    RewardSettings,
    Settings,
    SingleSettings,
    StrategySettings,
    UpstreamSettings,
    VllmClassifySettings,
    VllmPolicySettings,
)
from bon_gateway.strategies.best_of_n import BestOfN
from bon_gateway.strategies.first_k import FirstK
from bon_gateway.strategies.judge import Judge
from bon_gateway.strategies.single import Single


def build_gateway(
    settings: Settings, metrics: Metrics, environ: Mapping[str, str] = os.environ
) -> Gateway:
    """Raises SettingsError for an ``api_key_env`` that leads to no key."""
    check_upstream_keys(settings, environ)
    policies = {name: build_policy(p, environ) for name, p in settings.policies.items()}
    rewards: dict[str, RewardBackend] = {
        name: MeteredReward(name, build_reward(r, environ), metrics)
        for name, r in settings.rewards.items()
    }
    judge = Judge(settings.limits.schema_check_ms / 1000)
    build = partial(build_strategy, judge=judge)
    models = {
        name: ServedModel(
            name=name,
            policy=policies[served.policy],
            reward=None if served.reward is None else rewards[served.reward],
            strategy=build(served.strategy),
            settings=served,
        )
        for name, served in settings.models.items()
    }
    return Gateway(policies, rewards, models, build, judge)


def build_strategy(settings: StrategySettings, judge: Judge) -> Strategy:
    match settings:
        case BestOfNSettings():
            return BestOfN(settings, judge)
        case FirstKSettings():
            return FirstK(settings, judge)
        case SingleSettings():
            return Single(settings)


def build_upstream(
    settings: VllmPolicySettings | HttpRewardSettings, environ: Mapping[str, str]
) -> VllmPolicy | RewardServerBackend | VllmClassifyBackend:
    """A backend whose model is elsewhere."""
    if isinstance(settings, VllmPolicySettings):
        return VllmPolicy(settings, _key(settings, environ))
    if isinstance(settings, RewardServerSettings):
        return RewardServerBackend(settings, _key(settings, environ))
    assert isinstance(settings, VllmClassifySettings), "there is no other"
    return VllmClassifyBackend(settings, _key(settings, environ))


def build_policy(settings: PolicySettings, environ: Mapping[str, str]) -> PolicyBackend:
    if settings.type == "vllm":
        return VllmPolicy(settings, _key(settings, environ))
    from bon_gateway.backends.policy.embedded.policy import TransformersPolicy

    return TransformersPolicy(settings)


def build_reward(settings: RewardSettings, environ: Mapping[str, str]) -> RewardBackend:
    if settings.type == "reward_server":
        return RewardServerBackend(settings, _key(settings, environ))
    if settings.type == "vllm_classify":
        return VllmClassifyBackend(settings, _key(settings, environ))
    from bon_gateway.backends.reward.in_process import InProcessReward

    return InProcessReward(settings)


def _key(settings: UpstreamSettings, environ: Mapping[str, str]) -> str | None:
    return upstream_key(settings.api_key_env, environ, "api_key_env")
