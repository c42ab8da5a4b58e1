"""Scores the answers of a comparison with rewards as in the gateway's settings, in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bon_gateway.compare.prompts import Messages
from bon_gateway.compare.settings import ScorerSettings
from bon_gateway.errors import BadRequestError, RewardError
from bon_gateway.offline_rewards import OfflineRewards, RewardCost
from bon_gateway.strategies.parts import readable
from bon_gateway.types import RewardRequest

KEY = "quality.scorers"


class RewardScorers:
    """The scorers that are a ``reward``. Answers that one cannot score have no score."""

    def __init__(self, scorers: Mapping[str, ScorerSettings], environ: Mapping[str, str]) -> None:
        """Raises SettingsError for a section that cannot be used."""
        sections = {name: one.reward for name, one in scorers.items() if one.reward is not None}
        self._rewards = OfflineRewards(sections, KEY, environ)
        self.costs = {name: RewardCost() for name in sections}

    def __contains__(self, name: str) -> bool:
        return name in self.costs

    async def open(self) -> None:
        """Raises SettingsError for one that is not ready."""
        await self._rewards.open()

    async def close(self) -> None:
        await self._rewards.close()

    def compares(self, name: str) -> bool:
        """Whether all answers to a prompt must be in one call."""
        return self._rewards.backends[name].compares

    async def score(
        self, name: str, messages: Messages, texts: Sequence[str]
    ) -> Sequence[float | None]:
        """Scores of all ``texts``, from one call without retries."""
        backend, cost = self._rewards.backends[name], self.costs[name]
        answers = [{"role": "assistant", "content": text} for text in texts]
        try:
            request = RewardRequest(readable(messages, backend.non_text_parts))
            scores = await backend.score(request, answers)
        except (RewardError, BadRequestError) as error:
            cost.failed[error.code] += 1
            return [None] * len(texts)
        cost.add(scores.rewards, scores.tokens, scores.judging)
        return scores.rewards
