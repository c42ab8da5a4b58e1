"""Draw N + spare, keep the first N that finish, stop the rest, answer with the best.

It helps where a few slow candidates set the latency of ``best_of_n``: they are cut off, and the
answer need not wait for them. It harms where long answers are the good ones, because short answers
finish first, and it pays for the spare candidates up to where they are stopped.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveInt

from bon_gateway.strategies.pool import PoolStrategy
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.settings import DrawSettings


class FirstKSettings(DrawSettings):
    type: Literal["first_k"]
    spare: PositiveInt = 2
    """Candidates drawn beyond n. The first n to finish are kept, the rest is stopped."""

    asked: ClassVar[tuple[str, ...]] = (*DrawSettings.asked, "spare")
    counts: ClassVar[tuple[str, ...]] = (*DrawSettings.counts, "spare")

    def build(self, referee: Referee) -> FirstK:
        return FirstK(self, referee)


class FirstK(PoolStrategy):
    """It draws more than it keeps."""
