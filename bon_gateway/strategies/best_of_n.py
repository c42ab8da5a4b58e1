"""Draw N candidates, score all of them, answer with the highest raw reward.

It helps where the reward model is right about what is better, and most of the gain comes early: in
the demo world (docs/training-study.md) gold reward rises from 0.26 for one sample to 1.49 with N 4,
1.86 with N 8 and 2.31 with N 64. It multiplies generated tokens by N, and the slowest candidate
sets the latency. It harms where the reward model can be fooled, the more so the larger N is: with
a weak reward model the gold reward stops rising at 1.23, with N 16.

Ties go to the lower index. A failed candidate is drawn again; what stays missing degrades the
answer and does not fail it.
"""

from __future__ import annotations

from typing import Literal

from bon_gateway.strategies.pool import PoolStrategy
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.settings import DrawSettings


class BestOfNSettings(DrawSettings):
    type: Literal["best_of_n"]

    def build(self, referee: Referee) -> BestOfN:
        return BestOfN(self, referee)


class BestOfN(PoolStrategy):
    """It keeps all that it draws, so that nothing is stopped before its end."""
