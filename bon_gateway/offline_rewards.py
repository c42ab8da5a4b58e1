"""Rewards of the gateway's settings in a command's own process: opened, asked and closed there.

They are built as in the gateway, so a command gets the same numbers as a gateway that chooses. It
does not retry.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bon_common.settings.errors import SettingsError
from bon_gateway.auth import upstream_key
from bon_gateway.backends.settings import ComposedRewardSettings, RewardSettings, labels_of
from bon_gateway.factory import build_reward
from bon_gateway.judging import JudgeUsage
from bon_gateway.protocols import RewardBackend
from bon_gateway.settings.tree import AnyReward

PATIENCE_S = 30.0
"""Seconds to wait for a reward that says why it is not ready. A reward that says nothing loads a
model, which may take longer."""
LONGEST_S = 1800.0
POLL_S = 0.05

Place = Callable[[str], str]
"""The key of a reward's section in the command's settings, by the reward's name."""


@dataclass
class RewardCost:
    """Calls to one reward, in this run or an earlier one, and their cost."""

    calls: int = 0
    answers: int = 0
    without: int = 0
    """Number of answers without a reward."""
    tokens: int = 0
    judge: JudgeUsage = field(default_factory=JudgeUsage)
    failed: Counter[str] = field(default_factory=Counter)
    """Failed calls by the error's code."""

    def add(self, rewards: Sequence[float | None], tokens: int, judge: JudgeUsage | None) -> None:
        """Count one call."""
        self.calls += 1
        self.answers += len(rewards)
        self.without += rewards.count(None)
        self.tokens += tokens
        if judge is not None:
            self.judge += judge

    def __str__(self) -> str:
        told = [f"{self.answers} answers", f"{self.tokens} tokens read by the reward model"]
        if self.judge.calls:
            judge = self.judge
            told[1] = (
                f"{judge.calls} questions to a judge: {judge.prompt_tokens} tokens of prompts"
                f" ({judge.cached_tokens} cached), {judge.completion_tokens} of verdicts,"
                f" {judge.abstentions} abstentions"
            )
        if self.without:
            told.append(f"{self.without} answers got no reward")
        told += [f"{count} calls failed with {code}" for code, count in self.failed.items()]
        return ", ".join(told)


class OfflineRewards:
    """Rewards by their names. Building checks them; opening starts them and waits for them."""

    def __init__(
        self, rewards: Mapping[str, AnyReward], place: Place, environ: Mapping[str, str]
    ) -> None:
        """Raises SettingsError for a section that cannot be used."""
        self._place = place
        self._own = _built(rewards, place, environ)
        composed = {
            name: one.compose(self._own)
            for name, one in rewards.items()
            if isinstance(one, ComposedRewardSettings)
        }
        self.backends: Mapping[str, RewardBackend] = {
            name: self._own.get(name) or composed[name] for name in rewards
        }

    async def open(self, patience_s: float = PATIENCE_S) -> None:
        """Raises SettingsError for one that is not ready."""
        for backend in self._own.values():
            await backend.start()
        for name, backend in self._own.items():
            await _until_ready(backend, self._place(name), patience_s)

    async def close(self) -> None:
        """Close the rewards, opened or not."""
        await asyncio.gather(*(backend.close() for backend in self._own.values()))


@asynccontextmanager
async def opened_rewards(
    rewards: Mapping[str, AnyReward],
    place: Place,
    environ: Mapping[str, str],
    *,
    patience_s: float = PATIENCE_S,
) -> AsyncIterator[Mapping[str, RewardBackend]]:
    """``OfflineRewards`` that are ready while the body of an ``async with`` runs."""
    offline = OfflineRewards(rewards, place, environ)
    try:
        await offline.open(patience_s)
        yield offline.backends
    finally:
        await offline.close()


def _built(
    rewards: Mapping[str, AnyReward], place_of: Place, environ: Mapping[str, str]
) -> dict[str, RewardBackend]:
    own: dict[str, RewardBackend] = {}
    models = {name: one for name, one in rewards.items() if isinstance(one, RewardSettings)}
    composed = [one for one in rewards.values() if isinstance(one, ComposedRewardSettings)]
    for name, one in rewards.items():
        place = place_of(name)
        try:
            one.check()
        except SettingsError as error:
            where = f"{place}.{error.key}" if error.key else place
            raise SettingsError("settings", where, error.reason) from None
        if isinstance(one, ComposedRewardSettings):
            try:
                one.check_over(models)
            except ValueError as error:
                raise SettingsError("settings", place, str(error)) from None
        else:
            for within, variable in one.key_variables.items():
                upstream_key(variable, environ, f"{place}.{within}")
            own[name] = build_reward(one, environ, labels_of(name, composed))
    return own


async def _until_ready(backend: RewardBackend, place: str, patience_s: float) -> None:
    now = asyncio.get_running_loop().time
    begun = now()
    while not backend.ready():
        took = now() - begun
        known = "; ".join(f"{name}: {why}" for name, why in backend.troubles().items())
        lost = not backend.warming()
        if lost or took > (patience_s if known else LONGEST_S):
            told = known or ("it could not be opened" if lost else f"after {took:.0f} s")
            raise SettingsError("settings", place, f"is not ready: {told}")
        await asyncio.sleep(POLL_S)
