"""What the reward backends have in common that look at another one's calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from bon_gateway.protocols import RewardBackend
from bon_gateway.types import Message, RewardRequest, Scores


class WrappedReward(ABC):
    """A RewardBackend that passes everything on to another one. A subclass implements ``score``."""

    def __init__(self, backend: RewardBackend) -> None:
        self._backend = backend
        self.announces = backend.announces
        self.compares = backend.compares
        self.non_text_parts = backend.non_text_parts
        self.start = backend.start
        self.ready = backend.ready
        self.warming = backend.warming
        self.health = backend.health
        self.troubles = backend.troubles
        self.close = backend.close
        self.announce = backend.announce

    @abstractmethod
    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        """See RewardBackend."""
