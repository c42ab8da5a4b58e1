"""The running gateway: its backends, and the served models that are made of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from bon_gateway.errors import BadRequestError, NotFoundError
from bon_gateway.protocols import (
    Backend,
    ComposedPolicy,
    ComposedReward,
    Embedder,
    PolicyBackend,
    RewardBackend,
    RewardHistory,
    Strategy,
)
from bon_gateway.settings.tree import ServedModelSettings, Settings
from bon_gateway.strategies.referee import Referee
from bon_gateway.verifiers.panel import VerifierPanel


class Closing(Protocol):
    async def close(self) -> None: ...


class Starting(Closing, Protocol):
    async def start(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A name in ``/v1/models``: a policy, a reward and a strategy."""

    name: str
    policy: PolicyBackend
    reward: RewardBackend | None
    strategy: Strategy
    settings: ServedModelSettings
    history: RewardHistory | None = None
    """None without a reward model."""
    verifiers: VerifierPanel | None = None


@dataclass(frozen=True, slots=True)
class Gateway:
    """Owns every backend and the referee from ``start`` to ``close``. Composed policies and rewards
    have nothing to start, watch or close themselves."""

    policies: Mapping[str, PolicyBackend]
    rewards: Mapping[str, RewardBackend]
    models: Mapping[str, ServedModel]
    referee: Referee
    """Says which candidates may win, for all strategies."""
    composed_policies: Mapping[str, ComposedPolicy] = field(default_factory=dict)
    """Policies composed of those in ``policies``."""
    composed_rewards: Mapping[str, ComposedReward] = field(default_factory=dict)
    """Rewards composed of those in ``rewards``."""
    embedders: Mapping[str, Embedder] = field(default_factory=dict)
    created: int = field(default_factory=lambda: int(time.time()))
    """Unix time of the start, which ``/v1/models`` shows."""

    def model(self, name: str) -> ServedModel:
        """Raises NotFoundError with the code that OpenAI uses."""
        served = self.models.get(name)
        if served is None:
            known = ", ".join(sorted(self.models))
            raise NotFoundError(
                f"the model {name[:100]!r} does not exist; this gateway serves {known}",
                param="model",
                code="model_not_found",
            )
        return served

    def reward(self, name: str | None) -> tuple[str, RewardBackend]:
        """A reward, composed or not, with its name; None takes the only one. Raises NotFoundError,
        and BadRequestError if a name is needed."""
        found = {**self.rewards, **self.composed_rewards}
        known = ", ".join(sorted(found))
        if name is None and len(found) > 1:
            raise BadRequestError(
                f"model: say which reward: {known}", param="model", code="missing_parameter"
            )
        if name is None:
            name = next(iter(found), "")
        backend = found.get(name)
        if backend is None:
            told = f"this gateway has {known}" if found else "this gateway has no reward"
            raise NotFoundError(
                f"the reward {name[:100]!r} does not exist; {told}",
                param="model",
                code="model_not_found",
            )
        return name, backend

    def policy(self, name: str) -> PolicyBackend:
        """A policy, composed or not. The settings have checked that it exists."""
        composed = self.composed_policies.get(name)
        return self.policies[name] if composed is None else composed

    def ready(self) -> bool:
        """Whether some policy is ready and no reward model is still warming up.

        A reward model that has not come up yet keeps the gateway from being ready. One that goes
        down later only degrades answers, and so does an embedder.
        """
        return any(policy.ready() for policy in self.policies.values()) and all(
            not reward.warming() for reward in self.rewards.values()
        )

    @property
    def backends(self) -> dict[str, Backend]:
        """By ``policies.<name>``, ``rewards.<name>`` and ``embedders.<name>``."""
        return {
            **{f"policies.{name}": policy for name, policy in self.policies.items()},
            **{f"rewards.{name}": reward for name, reward in self.rewards.items()},
            **{f"embedders.{name}": embedder for name, embedder in self.embedders.items()},
        }

    def states(self) -> dict[str, dict[str, str]]:
        """The state of each upstream, by its backend and its own name."""
        return {name: backend.health() for name, backend in self.backends.items()}

    def health(self) -> dict[str, str]:
        """The state of each upstream, as ``policies.<name>.<upstream>`` or ``rewards...``."""
        return _flat(self.states())

    def troubles(self) -> dict[str, str]:
        """Why an upstream is not up, by the same names, if known."""
        return _flat({name: backend.troubles() for name, backend in self.backends.items()})

    @property
    def parts(self) -> list[Closing]:
        """All that has to be closed."""
        histories = [served.history for served in self.models.values()]
        return [*self.starting, *filter(None, histories), self.referee]

    @property
    def starting(self) -> list[Starting]:
        """Everything that needs a start."""
        panels = [served.verifiers for served in self.models.values()]
        return [*self.backends.values(), *filter(None, panels)]

    async def start(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for part in self.starting:
                tasks.create_task(part.start())

    async def close(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for part in self.parts:
                tasks.create_task(part.close())

    def with_backends_of(self, running: Gateway, kept: Collection[str]) -> Gateway:
        """This gateway, which has not started, with the backends in ``kept`` (``policies.<name>``,
        ``rewards.<name>`` or ``embedders.<name>``) taken over from a running one. Backends keep
        their connections and the state of their replicas."""
        policies = {
            name: running.policies[name] if f"policies.{name}" in kept else policy
            for name, policy in self.policies.items()
        }
        rewards = {
            name: running.rewards[name] if f"rewards.{name}" in kept else reward
            for name, reward in self.rewards.items()
        }
        embedders = {
            name: running.embedders[name] if f"embedders.{name}" in kept else embedder
            for name, embedder in self.embedders.items()
        }
        # A composed backend with unchanged settings may still consist of new backends.
        composed_policies = {
            name: (running.composed_policies[name] if f"policies.{name}" in kept else own).over(
                policies
            )
            for name, own in self.composed_policies.items()
        }
        composed_rewards = {
            name: (running.composed_rewards[name] if f"rewards.{name}" in kept else own).over(
                rewards
            )
            for name, own in self.composed_rewards.items()
        }
        policy_of, reward_of = policies | composed_policies, rewards | composed_rewards
        models = {
            name: replace(
                served,
                policy=policy_of[served.settings.policy],
                reward=(
                    None if (of := served.settings.reward_name(name)) is None else reward_of[of]
                ),
                verifiers=running.verifiers_for(served) or served.verifiers,
            )
            for name, served in self.models.items()
        }
        return replace(
            self,
            policies=policies,
            rewards=rewards,
            embedders=embedders,
            composed_policies=composed_policies,
            composed_rewards=composed_rewards,
            models=models,
            created=running.created,
        )

    def verifiers_for(self, served: ServedModel) -> VerifierPanel | None:
        """The verifiers of this gateway's model of the same name, if their settings are the
        same."""
        own = self.models.get(served.name)
        if own is None:
            return None
        before, after = own.settings, served.settings
        same = (before.verifier, before.on_all_failed) == (after.verifier, after.on_all_failed)
        return own.verifiers if same else None

    def with_histories_of(self, running: Gateway) -> Gateway:
        """This gateway, which has not started, with the histories of one that runs, for each served
        model that has the same backends there."""
        models = {
            name: replace(served, history=before.history)
            if (before := running.models.get(name)) is not None
            and before.policy is served.policy
            and before.reward is served.reward
            else served
            for name, served in self.models.items()
        }
        return replace(self, models=models)


async def wait_until(ready: Callable[[], bool], within_s: float) -> bool:
    """Whether it was ``ready`` within this time."""
    now = asyncio.get_running_loop().time
    give_up = now() + within_s
    while not ready() and now() < give_up:  # noqa: ASYNC110 - backends have no event
        await asyncio.sleep(0.02)
    return ready()


def _flat(by_backend: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {
        f"{backend}.{upstream}": value
        for backend, upstreams in by_backend.items()
        for upstream, value in upstreams.items()
    }


def same_backends(before: Settings, after: Settings) -> set[str]:
    """Backends and composed ones with equal settings before and after: ``policies.<name>``,
    ``rewards.<name>``.

    Their API keys cannot differ: the environment does not change while a process runs.
    """
    old, new = before.backends | before.composed, after.backends | after.composed
    return {path for path, settings in new.items() if old.get(path) == settings}
