"""A reward model that wants answers short: minus one for each word beyond a limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import PositiveInt

from bon_gateway.backends.reward.local import LocalReward
from bon_gateway.backends.settings import RewardSettings
from bon_gateway.types import Message, RewardRequest, Scores


class BrevitySettings(RewardSettings):
    type: Literal["brevity"]
    words: PositiveInt = 50
    """How many words cost nothing."""

    def build(self, key: str | None) -> Brevity:
        return Brevity(self.words)


class Brevity(LocalReward):
    def __init__(self, words: int) -> None:
        super().__init__("brevity", non_text_parts="leave_out")
        self._words = words

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        counts = [len(str(answer.get("content") or "").split()) for answer in completions]
        return Scores(tuple(float(-max(0, count - self._words)) for count in counts), 0)
