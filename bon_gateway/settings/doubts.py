"""Settings that are allowed and are probably not meant so. The gateway says them when it starts."""

from __future__ import annotations

from collections.abc import Mapping

from bon_gateway.backends.settings import RewardSettings
from bon_gateway.settings.tree import Settings


def doubts(settings: Settings) -> list[str]:
    """A sentence for each."""
    found = []
    for name, served in settings.models.items():
        drawn = served.strategy.drawn
        for reward, one in _asked(settings, served.reward_name(name)).items():
            short = one.short_of(drawn)
            if short is not None:
                found.append(
                    f"models.{name} draws {drawn} candidates, and rewards.{reward}.{short}"
                )
    return found


def _asked(settings: Settings, reward: str | None) -> Mapping[str, RewardSettings]:
    """The rewards with a model of their own that are asked for this one, by name."""
    if reward is None:
        return {}
    composed = settings.composed_rewards.get(reward)
    if composed is None:
        return {reward: settings.reward_models[reward]}
    return composed.members_over(settings.reward_models)
