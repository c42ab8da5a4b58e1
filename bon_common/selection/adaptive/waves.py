"""How many samples are drawn at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waves:
    """The first wave, then waves of equal size, the last of them cut at the cap."""

    first: int
    size: int
    cap: int

    def after(self, drawn: int) -> int:
        """Samples of the next wave after ``drawn`` samples; 0 at the cap."""
        wave = self.size if drawn else self.first
        return max(0, min(wave, self.cap - drawn))

    def ends(self) -> Iterator[int]:
        """The number of samples drawn after each wave, up to the cap."""
        drawn = 0
        while wave := self.after(drawn):
            drawn += wave
            yield drawn
