"""What a strategy decides that draws in waves: how many candidates come next, or why none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from bon_gateway.types import Candidate, Stopped


class NextWave(msgspec.Struct, frozen=True):
    draw: int
    """Candidates to draw; with 0 the drawing ends."""
    stopped: Stopped
    """Why it ends there. Without meaning if ``draw`` is above 0."""


class WaveRule(Protocol):
    """Decides on the next wave. The first is asked for without any candidates."""

    async def __call__(self, candidates: Sequence[Candidate]) -> NextWave:
        """``candidates`` are all drawn so far, by index, ended and scored.

        The rule keeps to the plan: it draws at least one candidate, and no more than
        ``Plan.drawn`` in all. The same candidates, after the same time, give the same decision.
        """
        ...
