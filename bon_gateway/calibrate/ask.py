"""Records the candidates of a running gateway, as lines of the candidate log.

Each prompt is asked once, with ``best_of_n`` and all candidates in the answer. The gateway's names
for its policy and reward model are not in an answer, so the served model's name stands for both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from yarl import URL

from bon_common.settings.errors import SettingsError
from bon_gateway.backends.http.client import HttpClient, base_url, encode
from bon_gateway.backends.http.faults import UpstreamError
from bon_gateway.calibrate.settings import AskSettings
from bon_gateway.compare.ask.client import CANDIDATE_SEED_STEP, open_client
from bon_gateway.compare.ask.progress import Progress
from bon_gateway.compare.prompts import Messages, read_prompts
from bon_gateway.compare.settings import PromptsSettings
from bon_gateway.recording.entry import VERSION

RECORDED = "pools.jsonl"
Write = Callable[[bytes], object]
"""Takes a line."""


class PoolRecorder:
    """Asks prompt after prompt and appends a line for each answer."""

    def __init__(
        self, settings: AskSettings, prompts: Sequence[Messages], seed: int, client: HttpClient
    ) -> None:
        self._settings, self._prompts, self._seed, self._client = settings, prompts, seed, client
        self._url = URL(f"{base_url(settings.url)}/v1/chat/completions")
        self.failures: list[str] = []

    async def record(self, write: Write, progress: Progress) -> None:
        """Every answer is written as soon as it is there."""
        waiting = iter(enumerate(self._prompts))
        progress.begin(f"asking for {self._settings.n} candidates each", len(self._prompts))
        workers = [
            asyncio.create_task(self._worker(waiting, write, progress))
            for _ in range(self._settings.concurrency)
        ]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()

    async def _worker(
        self, waiting: Iterator[tuple[int, Messages]], write: Write, progress: Progress
    ) -> None:
        for place, messages in waiting:
            try:
                write(orjson.dumps(await self._ask(place, messages)) + b"\n")
            except UpstreamError as error:
                self.failures.append(error.message)
            progress.step()

    async def _ask(self, place: int, messages: Messages) -> dict[str, Any]:
        settings = self._settings
        seed = (self._seed + place + 1) * CANDIDATE_SEED_STEP
        bon = {"strategy": "best_of_n", "n": settings.n, "return_candidates": True}
        body = {
            "model": settings.model, **settings.sampling,
            "messages": messages, "seed": seed, "bon": bon,
        }  # fmt: skip
        answer = await self._client.post(self._url, encode(body), {})
        return as_line(answer, messages, settings, f"calibrate-{place:05d}", seed)


def as_line(
    answer: Mapping[str, Any],
    messages: Messages,
    settings: AskSettings,
    request_id: str,
    seed: int,
) -> dict[str, Any]:
    """A line of the candidate log. Raises SettingsError for an answer without candidates."""
    bon = answer.get("bon")
    found = bon.get("candidates") if isinstance(bon, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise SettingsError(
            settings.url, "", f"its answers for {settings.model} list no candidates: is it a"
            " bon-gateway?",
        )  # fmt: skip
    return {
        "v": VERSION,
        "request_id": request_id,
        "model": settings.model,
        "policy": settings.model,
        "policy_revision": None,
        "reward": settings.model,
        "messages": messages,
        "sampling": settings.sampling,
        "seed": seed,
        "candidates": [{"message": None, **one} for one in found],
    }


def record_pools(
    settings: AskSettings,
    seed: int,
    folder: Path,
    environ: Mapping[str, str],
    progress: Progress,
) -> Path:
    """Writes the pools into ``folder``, and returns the file. Raises SettingsError for prompts that
    cannot be read, and if no request is answered."""
    limited = PromptsSettings(file=settings.prompts, limit=settings.limit)
    prompts = read_prompts(limited, seed)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / RECORDED).open("wb") as file:
        failures = asyncio.run(_record(settings, prompts, seed, file.write, environ, progress))
    progress.end()
    if len(failures) == len(prompts):
        last = failures[-1]
        raise SettingsError(settings.url, "", f"every request failed, the last with: {last}")
    if failures:
        told = f"{len(failures)} of {len(prompts)} requests failed, the last with: {failures[-1]}"
        progress.say(told)
    return folder / RECORDED


async def _record(
    settings: AskSettings,
    prompts: Sequence[Messages],
    seed: int,
    write: Write,
    environ: Mapping[str, str],
    progress: Progress,
) -> Sequence[str]:
    """The messages of those that failed."""
    client = open_client(settings.api_key_env, settings.timeout_s, environ)
    try:
        recorder = PoolRecorder(settings, prompts, seed, client)
        await recorder.record(write, progress)
    finally:
        await client.close()
    return recorder.failures
