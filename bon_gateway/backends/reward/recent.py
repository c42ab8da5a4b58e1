"""What a reward model's newest rewards say of its scale."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from bon_common.selection.spread import RewardSpread

WINDOW = 4096
"""Newest rewards that are remembered."""
SHARE = 16
"""Their spread is computed anew when one in so many is new: one reward more in thousands changes
nothing, and the first ones change much."""


class RecentRewards:
    """The newest ``WINDOW`` rewards of one reward model, and their spread."""

    def __init__(self) -> None:
        self._window: deque[float] = deque(maxlen=WINDOW)
        self._spread: RewardSpread | None = None
        self._new = 0
        """Rewards that came after ``_spread`` was computed."""

    def add(self, rewards: Iterable[float]) -> None:
        given = list(rewards)
        self._window.extend(given)
        self._new += len(given)

    @property
    def spread(self) -> RewardSpread | None:
        """None as long as there are no rewards."""
        if self._window and (self._spread is None or self._new * SHARE >= len(self._window)):
            self._spread = RewardSpread.of(self._window)
            self._new = 0
        return self._spread
