"""Scores answers after the load is over, so that scoring slows nothing that is measured.

A scorer is a reward server, a function of the user's own or a reward of the gateway's settings. The
judge is such a reward too; it gets each answer with that of the arm to beat. ``scores.jsonl`` keeps
every score with its scorer's identity, so no score is computed twice, and none of a scorer that has
changed since is used. Failures are counted and left out.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from yarl import URL

from bon_common.hooks import load_number_hook
from bon_gateway.backends.http.client import HttpClient, base_url, encode, finite
from bon_gateway.backends.http.faults import UpstreamError, malformed
from bon_gateway.backends.reward.identity import settings_identity
from bon_gateway.compare.ask.client import open_client
from bon_gateway.compare.ask.records import Append
from bon_gateway.compare.ask.rewards import RewardScorers
from bon_gateway.compare.prompts import Messages
from bon_gateway.compare.settings import HookSettings, QualitySettings, ScorerSettings
from bon_gateway.offline_rewards import RewardCost

AT_ONCE = 4

Scorer = Callable[[Messages, str], Awaitable[float]]
"""Raises UpstreamError."""


@dataclass(frozen=True, slots=True)
class WantedScore:
    """The score of a text, or the judge's verdict on a text against another."""

    scorer: str
    prompt: int
    text: str
    other: str | None = None
    """The text that the judge compares it with."""

    @property
    def name(self) -> str:
        """Its name in the file, which holds no second copy of the texts."""
        digest = hashlib.sha256(f"{self.text}\0{self.other or ''}".encode(errors="replace"))
        return f"{self.scorer} {self.prompt} {digest.hexdigest()[:24]}"


@dataclass
class KnownScores:
    known: dict[str, float] = field(default_factory=dict)
    """By ``WantedScore.name``."""
    failed: Counter[str] = field(default_factory=Counter)
    """By scorer."""

    def get(self, scorer: str, prompt: int, text: str, other: str | None = None) -> float | None:
        return self.known.get(WantedScore(scorer, prompt, text, other).name)


@dataclass(frozen=True)
class ScoringJobs:
    """The scores that are wanted, and those that are known."""

    wanted: Sequence[WantedScore]
    all_wanted: Sequence[WantedScore]
    """All scores of the whole comparison."""
    scores: KnownScores


def hook_scorer(settings: HookSettings, key: str) -> Scorer:
    """Calls the user's function in a thread, one call at a time: it need not be thread-safe.

    ``key`` is that of ``function``. Raises SettingsError for one that cannot be used.
    """
    hook = load_number_hook(settings.function, settings.field, "messages", "answer", key=key)
    alone = asyncio.Lock()

    async def score(messages: Messages, answer: str) -> float:
        async with alone:
            try:
                value = await asyncio.to_thread(hook, messages, answer)
            except Exception as error:
                raise malformed(f"it raised {type(error).__name__}") from error
        return finite(value)

    return score


def server_scorer(settings: ScorerSettings, client: HttpClient) -> Scorer:
    """A reward server's ``/v1/score``."""
    assert settings.url is not None, "the settings hold a url or a hook"
    url = URL(f"{base_url(settings.url)}/v1/score")
    named = {} if settings.model is None else {"model": settings.model}

    async def score(messages: Messages, answer: str) -> float:
        item = {"messages": messages, "completions": [answer]}
        reply = await client.post(url, encode({**named, "items": [item]}), {})
        try:
            return finite(reply["results"][0]["rewards"][0])
        except (KeyError, IndexError, TypeError):
            raise malformed("its answer has no reward") from None

    return score


class Scorers:
    """The open clients of all scorers, and of the judge. Close it."""

    def __init__(self, quality: QualitySettings, environ: Mapping[str, str]) -> None:
        """Raises SettingsError for a hook or a reward that cannot be used."""
        self._clients: list[HttpClient] = []
        self._scorers: dict[str, Scorer] = {}
        for name, settings in quality.scorers.items():
            if settings.reward is not None:
                continue
            if settings.hook is not None:
                key = f"quality.scorers.{name}.hook.function"
                self._scorers[name] = hook_scorer(settings.hook, key)
            else:
                client = open_client(settings.api_key_env, settings.timeout_s, environ)
                self._clients.append(client)
                self._scorers[name] = server_scorer(settings, client)
        self._rewards = RewardScorers(quality, environ)
        own = {
            name: settings_identity({name: settings.model_dump(mode="json")})
            for name, settings in quality.scorers.items()
            if settings.reward is None
        }
        self._identities = {
            name: identity.hex()[:16]
            for name, identity in (own | {**self._rewards.identities}).items()
        }

    def known(self, lines: Iterable[Mapping[str, Any]]) -> KnownScores:
        """The scores in the file's lines that the scorers, as they are now, gave."""
        current = {*self._identities.values()}
        return KnownScores({one["name"]: one["value"] for one in lines if one.get("by") in current})

    @property
    def costs(self) -> Mapping[str, RewardCost]:
        """Cost of the rewards among the scorers, and of the judge, in this run."""
        return self._rewards.costs

    async def open(self) -> None:
        """Call this before ``run``. Raises SettingsError for a reward that is not ready."""
        await self._rewards.open()

    async def close(self) -> None:
        await self._rewards.close()
        for client in self._clients:
            await client.close()

    async def run(
        self,
        jobs: ScoringJobs,
        prompts: Sequence[Messages],
        append: Append,
        done: Callable[[], None],
    ) -> None:
        """Get the unknown scores of ``jobs``, and add them to the known ones and to the file."""
        scores = jobs.scores
        missing = {one.name: one for one in jobs.wanted if one.name not in scores.known}
        groups = [*self._groups(missing.values(), jobs)]
        queue = iter(groups)

        async def worker() -> None:
            for group in queue:
                values = await self._group(group, prompts[group[0].prompt])
                for one, value in zip(group, values, strict=True):
                    if value is None:
                        scores.failed[one.scorer] += 1
                    else:
                        scores.known[one.name] = value
                        append(
                            {"name": one.name, "value": value, "by": self._identities[one.scorer]}
                        )
                    if one.name in missing:
                        done()

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(worker())

    def _groups(
        self, missing: Iterable[WantedScore], jobs: ScoringJobs
    ) -> Iterator[list[WantedScore]]:
        """The scores of one call each. A reward gets all answers to a prompt, known ones too if it
        compares answers; any other scorer gets one answer, and the judge one pair."""
        found: dict[tuple[str, int], dict[str, WantedScore]] = {}
        for one in missing:
            if one.scorer in self._rewards and one.other is None:
                found.setdefault((one.scorer, one.prompt), {})[one.name] = one
            else:
                yield [one]
        for one in jobs.all_wanted:
            group = found.get((one.scorer, one.prompt))
            if group is not None and self._rewards.compares(one.scorer):
                group[one.name] = one
        yield from ([*group.values()] for group in found.values())

    async def _group(
        self, group: Sequence[WantedScore], messages: Messages
    ) -> Sequence[float | None]:
        """Scores in order; None for a failure."""
        first = group[0]
        if first.other is not None:
            return [await self._rewards.compare(messages, first.text, first.other)]
        if first.scorer in self._rewards:
            texts = [one.text for one in group]
            return await self._rewards.score(first.scorer, messages, texts)
        try:
            return [await self._scorers[first.scorer](messages, first.text)]
        except UpstreamError:
            return [None]
