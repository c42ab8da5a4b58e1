"""Scores the answers of a comparison with rewards as in the gateway's settings, in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bon_common.judging.pairs import TIE
from bon_gateway.backends.reward.identity import reward_identity
from bon_gateway.compare.prompts import Messages
from bon_gateway.compare.settings import JUDGE, QualitySettings
from bon_gateway.errors import BadRequestError, RewardError
from bon_gateway.offline_rewards import OfflineRewards, RewardCost
from bon_gateway.strategies.parts import readable
from bon_gateway.types import RewardRequest


class RewardScorers:
    """The scorers that are a ``reward``, and the judge of win rates. Answers that one cannot score
    have no score."""

    def __init__(self, quality: QualitySettings, environ: Mapping[str, str]) -> None:
        """Raises SettingsError for a section that cannot be used."""
        sections = {
            name: one.reward for name, one in quality.scorers.items() if one.reward is not None
        }
        if quality.judge is not None:
            sections[JUDGE] = quality.judge
        self._rewards = OfflineRewards(sections, _place, environ)
        self.costs = {name: RewardCost() for name in sections}
        # After the rewards are built: by then the modules of hooks are loaded.
        self.identities: Mapping[str, bytes] = {
            name: reward_identity(name, sections) for name in sections
        }

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

    async def compare(self, messages: Messages, ours: str, theirs: str) -> float | None:
        """The judge's verdict: 1 if ours has the higher reward, 0 if theirs has, 0.5 for a tie;
        None if one has no reward."""
        own, other = await self.score(JUDGE, messages, (ours, theirs))
        return None if own is None or other is None else (own > other) + TIE * (own == other)


def _place(name: str) -> str:
    return "quality.judge" if name == JUDGE else f"quality.scorers.{name}.reward"
