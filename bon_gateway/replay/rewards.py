"""A reward model that knows recorded rewards: the RewardBackend of a replay."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec
import orjson

from bon_gateway.backends.reward.local import LocalReward
from bon_gateway.errors import RewardRefusedError
from bon_gateway.replay.log import begun
from bon_gateway.replay.pools import PromptPool
from bon_gateway.strategies.conversation import RewardView
from bon_gateway.strategies.prefill import Prefill
from bon_gateway.thinking import ThinkingSettings
from bon_gateway.types import Message, NonTextParts, RewardRequest, Scores

PARTS: NonTextParts = "send"
"""Whatever a conversation holds, nothing reads it here."""


class KnownReward(msgspec.Struct, frozen=True):
    reward: float
    tokens: int
    """Of the prompt, if it is known, and the answer, both as the policy counts them."""


def known_rewards(pool: PromptPool, thinking: ThinkingSettings | None) -> dict[bytes, KnownReward]:
    """By the answer as the reward model reads it, whole or begun. Of equal answers the first reward
    counts."""
    view = RewardView.of(pool.request, thinking, Prefill.of(pool.request), PARTS)
    found: dict[bytes, KnownReward] = {}
    prompt_tokens = pool.prompt_tokens or 0
    for one in pool.candidates:
        if one.reward is not None and one.message is not None:
            key = orjson.dumps(view.answer(one.message))
            found.setdefault(key, KnownReward(one.reward, prompt_tokens + one.tokens))
    for one in pool.candidates:
        for tokens, reward in one.partial_rewards:
            key = orjson.dumps(view.answer(begun(one, tokens)))
            found.setdefault(key, KnownReward(reward, prompt_tokens + tokens))
    return found


class RecordedRewards(LocalReward):
    """Used for one request. A call takes ``reward_s``, however many answers it has. An answer whose
    reward was not recorded is refused, so that the strategy does what it does when it serves."""

    def __init__(self, known: Mapping[bytes, KnownReward], reward_s: float) -> None:
        super().__init__("recorded", PARTS)
        self._known = known
        self._reward_s = reward_s
        self.answers = 0
        """Answers that were scored, or asked for."""
        self.tokens = 0

    async def score(self, request: RewardRequest, completions: Sequence[Message]) -> Scores:
        await asyncio.sleep(self._reward_s)
        found = [self._known.get(orjson.dumps(one)) for one in completions]
        tokens = sum(one.tokens for one in found if one is not None)
        self.answers += len(completions)
        self.tokens += tokens
        missing = RewardRefusedError("no reward was recorded") if None in found else None
        rewards = tuple(None if one is None else one.reward for one in found)
        return Scores(rewards, tokens, missing)
