"""The only place where settings become objects: each section builds its own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from bon_gateway.auth import check_upstream_keys, upstream_key
from bon_gateway.backends.embedder.metered import MeteredEmbedder
from bon_gateway.backends.policy.cached import CachedPolicy
from bon_gateway.backends.reward.cached import CachedReward
from bon_gateway.backends.reward.length_calibrated import LengthCalibratedReward
from bon_gateway.backends.reward.metered import MeteredReward
from bon_gateway.backends.settings import (
    BackendSettings,
    FindKey,
    PolicySettings,
    RewardSettings,
)
from bon_gateway.gateway import Gateway, ServedModel
from bon_gateway.metrics import Metrics
from bon_gateway.protocols import PolicyBackend, RewardBackend
from bon_gateway.settings.tree import ServedModelSettings, Settings
from bon_gateway.strategies.history import WindowHistory
from bon_gateway.strategies.history_files import ModelFiles, ModelIdentity
from bon_gateway.strategies.referee import Referee
from bon_gateway.verifiers.panel import VerifierPanel


def build_gateway(
    settings: Settings, metrics: Metrics, environ: Mapping[str, str] = os.environ
) -> Gateway:
    """Raises SettingsError for an ``api_key_env`` without a usable key."""
    check_upstream_keys(settings, environ)
    policies = {
        name: _policy(name, p, metrics, environ) for name, p in settings.policy_models.items()
    }
    composed_policies = {
        name: one.compose(policies) for name, one in settings.composed_policies.items()
    }
    rewards: dict[str, RewardBackend] = {
        name: _reward(name, r, metrics, environ, settings.labels_of(name))
        for name, r in settings.reward_models.items()
    }
    composed_rewards = {
        name: one.compose(rewards) for name, one in settings.composed_rewards.items()
    }
    policy_of, reward_of = policies | composed_policies, rewards | composed_rewards
    embedders = {
        name: MeteredEmbedder(name, one.build(key_of(one, environ)), metrics)
        for name, one in settings.embedders.items()
    }
    referee = Referee(settings.limits.schema_check_ms / 1000)
    panels = {
        name: panel
        for name, served in settings.models.items()
        if (panel := _panel(name, served, environ, metrics)) is not None
    }
    models = {
        name: ServedModel(
            name=name,
            policy=policy_of[served.policy],
            reward=None if (of := served.reward_name(name)) is None else reward_of[of],
            strategy=served.strategy.build(referee),
            settings=served,
            history=_history(name, settings),
            verifiers=panels.get(name),
        )
        for name, served in settings.models.items()
    }
    return Gateway(
        policies, rewards, models, referee, composed_policies, composed_rewards, embedders
    )


def _policy(
    name: str, settings: PolicySettings, metrics: Metrics, environ: Mapping[str, str]
) -> PolicyBackend:
    policy = settings.build(key_of(settings, environ))
    if settings.cache is None:
        return policy
    return CachedPolicy(policy, settings.cache, metrics.cache_meter(f"policies.{name}"))


def _reward(
    name: str,
    settings: RewardSettings,
    metrics: Metrics,
    environ: Mapping[str, str],
    labels: Sequence[str],
) -> RewardBackend:
    backend = build_reward(settings, environ, labels)
    # The meter is inside the cache: a cached reward is not a call of the reward model.
    metered = MeteredReward(name, backend, metrics)
    if settings.cache is None:
        return metered
    meter = metrics.cache_meter(f"rewards.{name}")
    return CachedReward(
        metered,
        settings.cache,
        meter,
        by_metadata=settings.reads_metadata,
        by_call_ids=settings.reads_call_ids,
    )


def build_reward(
    settings: RewardSettings, environ: Mapping[str, str], labels: Sequence[str] = ()
) -> RewardBackend:
    """A reward with its own model, not started, without meter and cache. Ensembles read its
    ``labels``."""
    backend = settings.build_reading(find_key(environ), labels)
    calibration = settings.length_calibration
    return backend if calibration is None else LengthCalibratedReward(backend, calibration)


def _history(name: str, settings: Settings) -> WindowHistory | None:
    served, folder = settings.models[name], settings.history.folder
    reward = served.reward_name(name)
    if reward is None:
        return None
    if folder is None:
        return WindowHistory()
    revision = settings.revision_of(served.policy)
    identity = ModelIdentity(name, served.policy, revision, reward)
    return WindowHistory(ModelFiles(Path(folder), identity))


def _panel(
    name: str, served: ServedModelSettings, environ: Mapping[str, str], metrics: Metrics
) -> VerifierPanel | None:
    if not served.verifier:
        return None
    keys = find_key(environ)
    built = {one.title: one.build(keys) for one in served.verifier}
    return VerifierPanel(name, built, served.on_all_failed, metrics)


def find_key(environ: Mapping[str, str]) -> FindKey:
    return lambda variable: upstream_key(variable, environ, "api_key_env")


def key_of(settings: BackendSettings, environ: Mapping[str, str]) -> str | None:
    return upstream_key(settings.key_variable, environ, "api_key_env")
