"""Draw N candidates and answer with what most of them say in their last line.

It helps where answers end in something short that is right or wrong, such as a number. It needs no
reward model; with one, the best answer of the majority wins. It harms where no two answers end
alike: then it is `best_of_n`, or without a reward model a single sample at N times the price.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, Literal

from bon_gateway.strategies.decide import contenders, led_by
from bon_gateway.strategies.pool import PoolStrategy
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.settings import DrawSettings
from bon_gateway.types import Candidate, ChatRequest


class LastLineSettings(DrawSettings):
    """The keys of `best_of_n`, and those that are written here."""

    type: Literal["last_line"]
    ignore_case: bool = True

    needs_reward: ClassVar[bool] = False

    def build(self, referee: Referee) -> LastLine:
        return LastLine(self, referee)


class LastLine(PoolStrategy):
    settings: LastLineSettings

    async def order(self, request: ChatRequest, candidates: Sequence[Candidate]) -> Sequence[int]:
        """Those that may win by their votes, and among equals as `best_of_n` would have them."""
        ends = {index: self._end(candidates[index]) for index in contenders(candidates)}
        votes = Counter(ends.values())
        return led_by(sorted(ends, key=lambda index: -votes[ends[index]]), candidates)

    def _end(self, candidate: Candidate) -> str:
        content = candidate.completion.message.get("content") if candidate.completion else None
        lines = content.strip().splitlines() if isinstance(content, str) else []
        last = lines[-1].strip() if lines else ""
        return last.casefold() if self.settings.ignore_case else last
