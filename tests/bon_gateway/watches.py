"""A watch for tests of policies: it remembers what it was shown, and stops whom it is told to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bon_gateway.types import Message


@dataclass
class StoppingWatch:
    """Stops each candidate in ``stop_at`` when it has passed the checkpoint given there."""

    checkpoints: Sequence[int]
    stop_at: Mapping[int, int] = field(default_factory=dict)
    begun: list[int] = field(default_factory=list)
    shown: dict[int, dict[int, Message]] = field(default_factory=dict)
    """By candidate and checkpoint."""
    stops: dict[int, Callable[[], object]] = field(default_factory=dict)

    def begins(self, index: int, stop: Callable[[], object]) -> None:
        self.begun.append(index)
        self.stops[index] = stop

    def passed(self, index: int, checkpoint: int, message: Message) -> None:
        self.shown.setdefault(index, {})[checkpoint] = message
        if self.stop_at.get(index) == checkpoint:
            self.stops[index]()

    def texts(self, index: int) -> dict[int, object]:
        """What the candidate said, by checkpoint."""
        return {c: message["content"] for c, message in self.shown.get(index, {}).items()}
