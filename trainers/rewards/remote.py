"""Rewards over HTTP, from a reward server or a bon-gateway.

Rewards do not depend on the order in which requests are answered. Only `trainers.endpoint.http`
retries.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from trainers.base.errors import RunError
from trainers.endpoint.http import JsonClient, RequestFailedError
from trainers.endpoint.work import for_each
from trainers.rewards.answers import AnswerScorer, Placed
from trainers.rewards.items import (
    PATH,
    AnsweredPrompt,
    MalformedError,
    answered_prompts,
    batches,
    rewards_of,
)
from trainers.rewards.settings import RewardEndpoint


class RemoteScorer(AnswerScorer):
    """An AnswerScorer that asks a server; the server knows its own limits and its own template."""

    def __init__(self, endpoint: RewardEndpoint) -> None:
        """Raises SettingsError if the variable with the key is not set."""
        self._endpoint = endpoint
        self.cut = 0
        JsonClient(endpoint)  # before a model is loaded, not after

    def require(self, placed: Placed) -> None:
        """Check nothing: only the server knows its limit."""

    def rewards(self, placed: Sequence[Placed]) -> list[float]:
        """Raises RunError, which names the address, if the server gave no answer or refused a
        conversation, and for an answer without a reward, unless `missing` is set."""
        prompts = answered_prompts([one for _, one in placed])
        found = asyncio.run(self._ask([*batches(prompts, self._endpoint.answers_per_request)]))
        return [self._reward(found[place], where) for place, (where, _) in enumerate(placed)]

    def _reward(self, reward: float | None, where: str) -> float:
        if reward is None:
            reward = self._endpoint.missing
        if reward is None:
            raise RunError(f"{where}: {self._endpoint.url} gave it no reward")
        if not math.isfinite(reward):
            raise RunError(f"{where}: {self._endpoint.url} gave it the reward {reward}")
        return reward

    async def _ask(self, asked: Sequence[Sequence[AnsweredPrompt]]) -> dict[int, float | None]:
        found: dict[int, float | None] = {}
        async with JsonClient(self._endpoint) as client:

            async def one(batch: Sequence[AnsweredPrompt]) -> None:
                try:
                    found.update(rewards_of(await client.post(PATH, self._body(batch)), batch))
                except (RequestFailedError, MalformedError) as error:
                    raise RunError(f"{self._endpoint.url}{PATH}: {error}") from error

            await for_each(asked, one, self._endpoint.concurrency)
        return found

    def _body(self, batch: Sequence[AnsweredPrompt]) -> dict[str, Any]:
        body: dict[str, Any] = {"items": [prompt.body for prompt in batch]}
        if self._endpoint.model is not None:
            body["model"] = self._endpoint.model
        if self._endpoint.missing is not None:
            body["missing"] = "null"
        return body
