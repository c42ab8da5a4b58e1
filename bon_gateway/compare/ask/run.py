"""Runs a comparison: ask the arms, then score their answers. Asks nothing a second time."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bon_common.settings.errors import SettingsError
from bon_gateway.compare.ask import schedule
from bon_gateway.compare.ask.client import ArmClient, request_seed
from bon_gateway.compare.ask.load import Loop
from bon_gateway.compare.ask.progress import Progress
from bon_gateway.compare.ask.records import RECORDS, SCORES, appending, read_lines, read_records
from bon_gateway.compare.ask.scoring import KnownScores, Scorers, ScoringJobs, WantedScore
from bon_gateway.compare.ask.selecting import probes, refuse_by_address, refuse_by_numbers
from bon_gateway.compare.ask.throughput import highest_rate
from bon_gateway.compare.ask.training import recorded_seconds
from bon_gateway.compare.prompts import Messages
from bon_gateway.compare.settings import JUDGE, SELECTION, CompareSettings
from bon_gateway.compare.types import ArmRecord, Key

SEARCH = "search "


@dataclass(frozen=True)
class Measured:
    """What a run leaves behind."""

    records: Sequence[ArmRecord]
    scores: KnownScores
    planned: int
    """Requests, without the warm-up."""
    complete: bool
    training_s: Mapping[str, float]
    """Seconds in the trainers' records, by name in ``training``."""
    highest_rates: Mapping[str, float]
    """By arm; empty without ``target``."""
    prompts: Sequence[Messages] = ()
    """What was asked, for the examples of the report."""
    measured_at: str = ""
    """When the last request ended, in UTC."""


def plan(settings: CompareSettings, prompts: int) -> dict[float | None, list[Key]]:
    """The requests of each phase by its rate, None for the closed loop; without the warm-up and
    the search for the highest rate."""
    load = settings.load
    phases: dict[float | None, str] = {None: schedule.CLOSED}
    if load.mode == "open":
        phases = {rate: schedule.open_phase(rate) for rate in load.rates}
    return {
        rate: schedule.interleaved(phase, list(settings.arms), prompts, load.repeats, settings.seed)
        for rate, phase in phases.items()
    }


class Run:
    """One comparison in its folder, which ``records.claim`` has reserved."""

    def __init__(
        self,
        settings: CompareSettings,
        prompts: Sequence[Messages],
        stop: asyncio.Event,
        *,
        embedded_url: str | None = None,
        environ: Mapping[str, str] = os.environ,
        progress: Progress | None = None,
    ) -> None:
        self._settings = settings
        self._prompts = prompts
        self._stop = stop
        self._environ = environ
        self._progress = progress or Progress(None)
        self._urls: dict[str, str] = {}
        for name, arm in settings.arms.items():
            url = arm.url or embedded_url
            if url is None:
                key = f"arms.{name}.url"
                raise SettingsError("settings", key, "is required without --embedded")
            self._urls[name] = url
        self._training_s = {
            name: recorded_seconds(training, name) for name, training in settings.training.items()
        }
        self._plan = plan(settings, len(prompts))
        self.records = read_records(settings.output / RECORDS)

    async def measure(self) -> Measured:
        """Ask everything that is missing, then score it. ``stop`` ends the asking."""
        quality = self._settings.quality
        # First, so that a hook that cannot be imported is reported before anything is asked.
        scorers = Scorers(quality, self._environ)
        try:
            await refuse_by_address(self._settings, self._urls, self._environ)
            rates = await self._load()
            scores = await self._score(scorers)
        finally:
            await scorers.close()
        return Measured(
            records=[r for r in self.records if not r.key.phase.startswith(SEARCH)],
            scores=scores,
            planned=sum(map(len, self._plan.values())),
            complete=not any(self._left(keys) for keys in self._plan.values()),
            training_s=self._training_s,
            highest_rates=rates,
            prompts=self._prompts,
            measured_at=_minute(self._settings.output / RECORDS),
        )

    def _left(self, keys: Sequence[Key]) -> list[Key]:
        done = {record.key for record in self.records}
        return [key for key in keys if key not in done]

    async def _load(self) -> dict[str, float]:
        settings, count = self._settings, len(self._prompts)
        async with AsyncExitStack() as closing:
            clients = {}
            for name, arm in settings.arms.items():
                clients[name] = ArmClient(
                    arm, self._urls[name], settings.sampling, settings.load, self._environ
                )
                closing.push_async_callback(clients[name].close)
            with appending(settings.output / RECORDS) as append:

                def keep(record: ArmRecord) -> None:
                    self.records.append(record)
                    append(record)
                    self._progress.step()

                async def ask(key: Key, start: float, at_s: float) -> ArmRecord:
                    seed = request_seed(settings.seed, key, count)
                    messages = self._prompts[key.prompt]
                    return await clients[key.arm].ask(
                        key, messages, seed, start=start, intended_s=at_s
                    )

                loop = Loop(ask, keep, self._stop)
                await self._warm_up(loop)
                limited = Loop(ask, keep, self._stop, settings.load.duration_s)
                for rate, keys in self._plan.items():
                    await self._phase(keys, rate, limited)
                return await self._search(loop)

    async def _warm_up(self, loop: Loop) -> None:
        """Again whenever a run continues: what was warm when it stopped is cold by then."""
        settings = self._settings
        keys = schedule.warm_up(
            list(settings.arms), len(self._prompts), settings.load.warm_up, settings.seed
        )
        if not keys or not any(self._left(planned) for planned in self._plan.values()):
            return
        before = len(self.records)
        self._progress.begin("warming up", len(keys))
        await loop.closed(keys, settings.load.concurrency)
        for arm in settings.arms:
            warm = [r for r in self.records[before:] if r.key.arm == arm]
            if warm and not any(record.ok for record in warm):
                self._progress.say(f"{arm}: every warm-up request failed: {warm[-1].error}")

    async def _phase(self, keys: Sequence[Key], rate: float | None, loop: Loop) -> None:
        left = self._left(keys)
        if self._stop.is_set() or not left:
            return
        self._progress.begin(left[0].phase, len(left))
        if rate is None:
            await loop.closed(left, self._settings.load.concurrency)
        else:
            await loop.open(schedule.arrivals(left, rate, self._settings.seed))

    async def _search(self, loop: Loop) -> dict[str, float]:
        """The highest rate of each arm, in random order, without arms whose search was stopped."""
        settings, prompts = self._settings, len(self._prompts)
        target = settings.target
        if target is None:
            return {}
        rates: dict[str, float] = {}
        arms = list(settings.arms)
        random.Random(settings.seed).shuffle(arms)
        for arm in arms:

            async def attempt(rate: float, time: int, arm: str = arm) -> Sequence[ArmRecord]:
                phase = f"{SEARCH}{rate:g}/s {time + 1}"
                keys = [Key(phase, arm, i % prompts, i // prompts) for i in range(target.requests)]
                left = self._left(keys)
                self._progress.begin(f"{arm} at {rate:g}/s", len(left))
                await loop.open(schedule.arrivals(left, rate, settings.seed))
                return [r for r in self.records if r.key.arm == arm and r.key.phase == phase]

            found = None if self._stop.is_set() else await highest_rate(attempt, target)
            if found is not None:
                rates[arm] = found
        return rates

    async def _score(self, scorers: Scorers) -> KnownScores:
        path = self._settings.output / SCORES
        scores = scorers.known(read_lines(path))
        wanted = list(_wanted(self._settings, self.records))
        first = probes(self._settings, _answered(self.records))
        missing = {one.name for one in wanted} - set(scores.known)
        if missing:
            self._progress.begin("scoring", len(missing))
        with appending(path) as append:
            if missing:
                await scorers.open()
            for part in (first, wanted):
                jobs = ScoringJobs(part, wanted, scores)
                await scorers.run(jobs, self._prompts, append, self._progress.step)
                refuse_by_numbers(self._settings, _answered(self.records), scores)
        for name, cost in scorers.costs.items():
            if cost.calls or cost.failed:
                self._progress.say(f"scored by {name}: {cost}")
        return scores


def _minute(path: Path) -> str:
    """When the file was last written to."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _answered(records: Sequence[ArmRecord]) -> list[ArmRecord]:
    """The answers that figures are made of."""
    return [r for r in records if r.ok and not r.key.phase.startswith((SEARCH, schedule.WARM_UP))]


def _wanted(settings: CompareSettings, records: Sequence[ArmRecord]) -> list[WantedScore]:
    """All winners by every scorer; all candidates by the one that decides."""
    quality = settings.quality
    wanted = []
    measured = _answered(records)
    theirs = {r.key: r for r in measured if r.key.arm == settings.against}
    for record in measured:
        prompt = record.key.prompt
        wanted += [WantedScore(name, prompt, record.text) for name in quality.scorers]
        if quality.primary != SELECTION:
            wanted += [
                WantedScore(quality.primary, prompt, candidate.text)
                for candidate in record.candidates
                if candidate.text is not None
            ]
        other = theirs.get(record.key._replace(arm=settings.against))
        judged = quality.judge is not None and record.key.arm != settings.against
        if judged and other is not None and other.text != record.text:
            wanted.append(WantedScore(JUDGE, prompt, record.text, other.text))
    return wanted
