"""Rewards from the operator's own function, in the gateway's process.

A plain function is called in a thread, one call at a time, because it may not be safe to run
several at once. An ``async`` function runs in the event loop, several calls at once.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from bon_common.hooks import HookName, is_async, load_hook
from bon_gateway.backends.reward.local import LocalReward
from bon_gateway.backends.settings import RewardSettings
from bon_gateway.errors import RewardError
from bon_gateway.types import Message, NonTextParts, RewardRequest, Scores
from bon_gateway.unexpected import log_unexpected

ARGUMENTS = ("messages", "completions")
_log = logging.getLogger(__name__)


class HookRewardSettings(RewardSettings):
    type: Literal["hook"]
    function: HookName
    """``package.module:function``, plain or ``async``. It gets the conversation's messages and the
    messages that answer it, and returns one number for each answer. Only the settings file may name
    it."""
    non_text_parts: NonTextParts = "refuse"
    """As for ``vllm_classify``."""

    def check(self) -> None:
        load_hook(self.function, *ARGUMENTS)

    def build(self, key: str | None) -> HookReward:
        return HookReward(self, load_hook(self.function, *ARGUMENTS))


class HookReward(LocalReward):
    def __init__(self, settings: HookRewardSettings, function: Callable[..., Any]) -> None:
        super().__init__(settings.function, settings.non_text_parts)
        self._function = function
        self._waits = is_async(function)
        self._alone = asyncio.Lock()

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        if not completions:
            return Scores((), 0)
        try:
            rewards = _rewards(await self._call(request.messages, completions), len(completions))
        except Exception as error:
            fields = {"request_id": request.request_id, "function": self._name}
            log_unexpected(_log, "the function that scores answers failed", error, fields)
            raise RewardError("the answers could not be scored") from error
        return Scores(rewards, 0)

    async def _call(self, messages: Sequence[Message], completions: Sequence[Message]) -> Any:
        if self._waits:
            return await self._function(messages, completions)
        async with self._alone:
            return await asyncio.to_thread(self._function, messages, completions)


def _rewards(given: Any, count: int) -> tuple[float, ...]:
    """Raises ValueError unless ``given`` is one finite number for each answer."""
    rewards = tuple(float(reward) for reward in given)
    if len(rewards) != count or not all(map(math.isfinite, rewards)):
        raise ValueError(f"it returned {given!r}: one finite number for each of {count} answers")
    return rewards
