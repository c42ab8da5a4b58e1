"""The settings of the reward model that runs in the gateway's own process."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import ClassVar, Literal

from pydantic import PositiveInt

from bon_gateway.backends.reward.steps import RewardStepsSettings
from bon_gateway.backends.settings import FindKey, LocalModelSettings, RewardSettings
from bon_gateway.protocols import RewardBackend
from bon_gateway.types import ForTextAlone


class InProcessRewardSettings(LocalModelSettings, RewardSettings):
    type: Literal["in_process"]
    model: str
    """A folder, or the hub id, of a sequence-classification reward model or a process reward
    model."""
    steps: RewardStepsSettings | None = None
    """How a process reward model reads an answer step by step. None takes the trainer's note
    (``rm_meta.json``); without one the model scores whole answers."""
    non_text_parts: ForTextAlone = "refuse"
    """As for ``reward_server``."""
    max_batch_tokens: PositiveInt = 16384
    """Tokens, padding included, in one forward pass."""

    may_have_labels: ClassVar[bool] = True

    def build(self, key: str | None) -> RewardBackend:
        return self.build_reading(lambda _: key, ())

    def build_reading(self, keys: FindKey, labels: Sequence[str]) -> RewardBackend:
        # By name: what runs a model imports much, and most gateways run none.
        backend: RewardBackend = import_module(
            "bon_gateway.backends.reward.in_process"
        ).InProcessReward(self, labels=labels)
        return backend
