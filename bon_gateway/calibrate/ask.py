"""Records the candidates of a running gateway, as lines of the candidate log.

Each prompt is asked once, with ``best_of_n`` and all candidates in the answer. The gateway's names
for its policy and reward model are not in an answer, so the served model's name stands for both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from yarl import URL

from bon_common.settings.errors import SettingsError
from bon_gateway.backends.http.client import HttpClient, base_url, encode
from bon_gateway.backends.http.faults import UpstreamError
from bon_gateway.calibrate.settings import AskSettings
from bon_gateway.compare.ask.client import CANDIDATE_SEED_STEP, FRESH, open_client
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
        self._compares = False
        self.failures: list[str] = []

    async def record(self, write: Write, progress: Progress) -> None:
        """Every answer is written as soon as it is there."""
        self._compares = await _reward_compares(self._settings, self._client)
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
                self.failures.append(_why(error, self._settings))
            progress.step()

    async def _ask(self, place: int, messages: Messages) -> dict[str, Any]:
        settings = self._settings
        seed = (self._seed + place + 1) * CANDIDATE_SEED_STEP
        bon = {"strategy": "best_of_n", "n": settings.n, "return_candidates": True}
        body = {
            "model": settings.model, **settings.sampling,
            "messages": messages, "seed": seed, "bon": bon,
        }  # fmt: skip
        answer = await self._client.post(self._url, encode(body), FRESH)
        line = as_line(answer, messages, settings, f"calibrate-{place:05d}", seed)
        return {**line, "reward_compares": True} if self._compares else line


async def _reward_compares(settings: AskSettings, client: HttpClient) -> bool:
    """Whether the served model's reward only compares the answers of one call. A gateway that does
    not say has no such rewards."""
    base = base_url(settings.url)
    try:
        served = orjson.loads(await client.get(URL(f"{base}/v1/models/{settings.model}")))
        listed = orjson.loads(await client.get(URL(f"{base}/v1/rewards")))
        told = {one["id"]: one["bon"]["compares"] for one in listed["data"]}
        return told.get(served["bon"]["reward"]) is True
    except (UpstreamError, ValueError, KeyError, TypeError):
        return False


def _why(error: UpstreamError, settings: AskSettings) -> str:
    """The failure in words for a gateway's client. The error's own message is written for a gateway
    that asks its upstreams."""
    match error.status:
        case 401 | 403 if settings.api_key_env is None:
            return f"it wants a key ({error.status}): name the key's variable with --api-key-env"
        case 401 | 403:
            return f"it refused the key in {settings.api_key_env} ({error.status})"
        case 404:
            return f"it serves no model {settings.model!r}, or it is no bon-gateway (404)"
        case 429:
            return "it has no room or no budget left for the key (429)"
    return error.message


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
    """Writes the pools into ``folder``, and returns the file. An earlier one is replaced by the
    first answer. Raises SettingsError for prompts that cannot be read, if no request is answered,
    and if the earlier file holds gold."""
    limited = PromptsSettings(file=settings.prompts, limit=settings.limit)
    prompts = read_prompts(limited, seed)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / RECORDED
    if file.exists() and _judged(file):
        raise SettingsError(
            "settings", "output", f"{file} holds answers with gold, which would be lost:"
            f" calibrate on it with --pools {file}, or write elsewhere with --output",
        )  # fmt: skip
    with ExitStack() as stack:
        opened: list[BinaryIO] = []

        def write(line: bytes) -> None:
            if not opened:
                opened.append(stack.enter_context(file.open("wb")))
            opened[0].write(line)

        failures = asyncio.run(_record(settings, prompts, seed, write, environ, progress))
    progress.end()
    if len(failures) == len(prompts):
        last = failures[-1]
        raise SettingsError(settings.url, "", f"every request failed, the last with: {last}")
    if failures:
        told = f"{len(failures)} of {len(prompts)} requests failed, the last with: {failures[-1]}"
        progress.say(told)
    return file


def _judged(file: Path) -> bool:
    """Whether a candidate has gold. A line that cannot be read has none."""
    for line in file.read_bytes().splitlines():
        try:
            candidates = orjson.loads(line)["candidates"]
            if any(one.get("gold") is not None for one in candidates):
                return True
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return False


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
