"""The course of a comparison: ask, judge, work out. What was asked already is not asked again."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from bon_common.settings.errors import SettingsError
from bon_gateway.compare.ask import schedule
from bon_gateway.compare.ask.client import ArmClient, request_seed
from bon_gateway.compare.ask.load import Loop, closed_loop, open_loop
from bon_gateway.compare.ask.progress import Progress
from bon_gateway.compare.ask.records import RECORDS, SCORES, JsonLines, RecordFile, read_lines
from bon_gateway.compare.ask.records import read_records as read
from bon_gateway.compare.ask.scoring import JUDGE, Scores, Scoring, Wanted
from bon_gateway.compare.ask.throughput import highest_rate
from bon_gateway.compare.ask.training import recorded_seconds
from bon_gateway.compare.prompts import Messages
from bon_gateway.compare.settings import SELECTION, ArmSettings, CompareSettings
from bon_gateway.compare.types import Key, Record, Trial

SEARCH = "search "


@dataclass(frozen=True)
class Phase:
    """One part of the measurement. ``rate`` None is the closed loop."""

    keys: Sequence[Key]
    rate: float | None


@dataclass(frozen=True)
class Measured:
    """What a run leaves behind."""

    records: Sequence[Record]
    scores: Scores
    planned: int
    """Requests, without the warm-up."""
    complete: bool
    training_s: Mapping[str, float]
    """Seconds in the trainers' records, by name in ``training``."""
    highest_rates: Mapping[str, float]
    """By arm; empty if they were not looked for."""


def plan(settings: CompareSettings, prompts: int) -> list[Phase]:
    """All phases of the measurement, without the warm-up and the search for the highest rate."""
    load, arms = settings.load, list(settings.arms)

    def keys(phase: str) -> list[Key]:
        return schedule.interleaved(phase, arms, prompts, load.repeats, settings.seed)

    if load.mode == "closed":
        return [Phase(keys(schedule.CLOSED), None)]
    return [Phase(keys(schedule.open_phase(rate)), rate) for rate in load.rates]


class Run:
    """One comparison in its folder, which ``records.claim`` has made its own."""

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
        self._folder: Path = settings.output
        self._urls = {
            name: _address(name, arm, embedded_url) for name, arm in settings.arms.items()
        }
        self._training_s = {
            name: recorded_seconds(training, name) for name, training in settings.training.items()
        }
        self._scoring: Callable[[], Scoring] = lambda: Scoring(
            settings.quality.scorers, settings.quality.judge, environ
        )
        self.records = read(self._folder / RECORDS)

    async def measure(self) -> Measured:
        """Ask everything that is missing, then score it. ``stop`` ends the asking."""
        # A hook that is not there is said before anything is asked.
        scoring = self._scoring()
        try:
            rates = await self._load()
            scores = await self._score(scoring)
        finally:
            await scoring.close()
        phases = plan(self._settings, len(self._prompts))
        done = {record.key for record in self.records}
        planned = [key for phase in phases for key in phase.keys]
        return Measured(
            records=[r for r in self.records if not r.key.phase.startswith(SEARCH)],
            scores=scores,
            planned=len(planned),
            complete=all(key in done for key in planned),
            training_s=self._training_s,
            highest_rates=rates,
        )

    async def _load(self) -> dict[str, float]:
        settings = self._settings
        async with AsyncExitStack() as closing:
            clients = {}
            for name, arm in settings.arms.items():
                clients[name] = self._client(name, arm)
                closing.push_async_callback(clients[name].close)
            with RecordFile(self._folder / RECORDS) as file:

                def keep(record: Record) -> None:
                    self.records.append(record)
                    file.add(record)
                    self._progress.step()

                async def ask(trial: Trial, start: float, at_s: float) -> Record:
                    client, key = clients[trial.key.arm], trial.key
                    count = len(self._prompts)
                    seed = request_seed(settings.seed, key, count)
                    asked = client.request(key, self._prompts[key.prompt], seed)
                    return await client.ask(asked, start, at_s)

                loop = Loop(ask, keep, self._stop, settings.load.duration_s)
                await self._warm_up(Loop(ask, keep, self._stop))
                for phase in plan(settings, len(self._prompts)):
                    await self._phase(phase, loop)
                return await self._search(Loop(ask, keep, self._stop))

    def _client(self, name: str, arm: ArmSettings) -> ArmClient:
        return ArmClient(
            arm,
            self._urls[name],
            self._settings.sampling,
            api_key=None if arm.api_key_env is None else self._environ.get(arm.api_key_env),
            timeout_s=self._settings.load.timeout_s,
            stream=self._settings.load.stream,
        )

    async def _warm_up(self, loop: Loop) -> None:
        """Each time anew: what was warm when a run was stopped is cold when it goes on."""
        settings = self._settings
        keys = schedule.warm_up(
            list(settings.arms), len(self._prompts), settings.load.warm_up, settings.seed
        )
        if not (self._missing() and keys):
            return
        before = len(self.records)
        self._progress.begin("warming up", len(keys))
        await closed_loop(schedule.closed_loop(keys), settings.load.concurrency, loop)
        warm = self.records[before:]
        for arm in settings.arms:
            failed = [r for r in warm if r.key.arm == arm and not r.ok]
            if failed and len(failed) == sum(r.key.arm == arm for r in warm):
                self._progress.say(f"{arm}: every warm-up request failed: {failed[-1].error}")

    def _missing(self) -> bool:
        done = {record.key for record in self.records}
        phases = plan(self._settings, len(self._prompts))
        return any(key not in done for phase in phases for key in phase.keys)

    async def _phase(self, phase: Phase, loop: Loop) -> None:
        if self._stop.is_set():
            return
        done = {record.key for record in self.records}
        left = schedule.closed_loop(phase.keys, done)
        if not left:
            return
        self._progress.begin(phase.keys[0].phase, len(left))
        if phase.rate is None:
            await closed_loop(left, self._settings.load.concurrency, loop)
        else:
            trials = schedule.open_loop(phase.keys, phase.rate, self._settings.seed, done)
            await open_loop(trials, loop)

    async def _search(self, loop: Loop) -> dict[str, float]:
        """The highest rate of each arm, in random order; arms that were stopped are left out."""
        target = self._settings.target
        if target is None:
            return {}
        rates: dict[str, float] = {}
        arms = list(self._settings.arms)
        random.Random(self._settings.seed).shuffle(arms)
        for arm in arms:

            async def attempt(rate: float, time: int, arm: str = arm) -> Sequence[Record]:
                phase = f"{SEARCH}{rate:g}/s {time + 1}"
                keys = [
                    Key(phase, arm, i % len(self._prompts), i // len(self._prompts))
                    for i in range(target.requests)
                ]
                done = {record.key for record in self.records}
                trials = schedule.open_loop(keys, rate, self._settings.seed, done)
                self._progress.begin(f"{arm} at {rate:g}/s", len(trials))
                await open_loop(trials, loop)
                return [r for r in self.records if r.key.arm == arm and r.key.phase == phase]

            found = None if self._stop.is_set() else await highest_rate(attempt, target)
            if found is not None:
                rates[arm] = found.highest
        return rates

    async def _score(self, scoring: Scoring) -> Scores:
        scores = Scores({line["name"]: line["value"] for line in read_lines(self._folder / SCORES)})
        wanted = list(_wanted(self._settings, self.records))
        missing = {one.name for one in wanted} - set(scores.known)
        if missing:
            self._progress.begin("scoring", len(missing))
        with JsonLines(self._folder / SCORES) as out:
            await scoring.run(wanted, self._prompts, scores, out, self._progress.step)
        return scores


def _wanted(settings: CompareSettings, records: Sequence[Record]) -> list[Wanted]:
    """All winners by every scorer; candidates of base arms by the one that decides."""
    quality = settings.quality
    wanted = []
    measured = [r for r in records if r.ok and not r.key.phase.startswith((SEARCH, "warm-up"))]
    theirs = {r.key: r for r in measured if r.key.arm == settings.against}
    for record in measured:
        prompt = record.key.prompt
        wanted += [Wanted(name, prompt, record.text) for name in quality.scorers]
        if quality.primary != SELECTION and settings.arms[record.key.arm].training is None:
            wanted += [
                Wanted(quality.primary, prompt, drawn.text)
                for drawn in record.candidates
                if drawn.text is not None
            ]
        other = theirs.get(record.key._replace(arm=settings.against))
        judged = quality.judge is not None and record.key.arm != settings.against
        if judged and other is not None and other.text != record.text:
            wanted.append(Wanted(JUDGE, prompt, record.text, other.text))
    return wanted


def _address(name: str, arm: ArmSettings, embedded_url: str | None) -> str:
    url = arm.url or embedded_url
    if url is None:
        raise SettingsError("settings", f"arms.{name}.url", "is required without --embedded")
    return url
