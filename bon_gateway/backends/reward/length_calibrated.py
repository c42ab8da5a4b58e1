"""Takes out of any reward model's rewards what they owe to length alone."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bon_common.selection.length import without_length
from bon_gateway.backends.reward.wrapped import WrappedReward
from bon_gateway.backends.settings import LengthCalibrationSettings
from bon_gateway.protocols import RewardBackend
from bon_gateway.types import Message, RewardRequest, Scores


class LengthCalibratedReward(WrappedReward):
    """A RewardBackend that subtracts ``slope`` times the characters of each answer's text beyond
    ``reference``. Tool calls have no length."""

    def __init__(self, backend: RewardBackend, settings: LengthCalibrationSettings) -> None:
        super().__init__(backend)
        self._settings = settings

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        scores = await self._backend.score(request, completions)
        slope, reference = self._settings.slope, self._settings.reference
        rewards = [
            None if reward is None else without_length(reward, _length(answer), slope, reference)
            for reward, answer in zip(scores.rewards, completions, strict=True)
        ]
        return msgspec.structs.replace(scores, rewards=tuple(rewards))


def _length(answer: Message) -> int:
    content = answer.get("content")
    return len(content) if isinstance(content, str) else 0
