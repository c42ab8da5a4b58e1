"""What reward backends without replicas have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from bon_gateway.types import Message, NonTextParts, RewardRequest, Scores, UpstreamState

WARM_UP = (
    RewardRequest([{"role": "user", "content": "Hi"}]),
    {"role": "assistant", "content": "Hi"},
)
"""A conversation and an answer, to be scored before any client's."""


class Unannounced:
    """The announcing part of a RewardBackend that does not use announcements. Its rewards compare
    across calls."""

    announces = False
    compares: bool = False

    async def announce(self, request: RewardRequest) -> None:
        return None


class LocalReward(Unannounced, ABC):
    """A RewardBackend that computes rewards by itself and has nothing to open or to wait for.

    A subclass implements ``score``. ``name`` is its name in health and metrics.
    """

    def __init__(self, name: str, non_text_parts: NonTextParts) -> None:
        self._name = name
        self.non_text_parts: NonTextParts = non_text_parts

    @abstractmethod
    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        """See RewardBackend."""

    async def start(self) -> None:
        return None

    def ready(self) -> bool:
        return True

    def warming(self) -> bool:
        return False

    def health(self) -> dict[str, str]:
        return {self._name: UpstreamState.UP}

    def troubles(self) -> dict[str, str]:
        return {}

    async def close(self) -> None:
        return None
