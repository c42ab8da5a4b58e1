"""Rewards of texts by a reward server, which computes a prompt once for all its answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

IN_FLIGHT = 3
TIMEOUT_S = 900.0


@dataclass(frozen=True)
class ToScore:
    """A conversation and texts that could answer it."""

    messages: Sequence[dict[str, Any]]
    texts: Sequence[str]
    partial: bool = False
    """The texts are beginnings of answers."""


@dataclass(frozen=True)
class ScoredTexts:
    """The reward of each text, and whether the prompt had to be cut for any."""

    rewards: Sequence[float]
    cut: bool


class RefusedError(Exception):
    """The reward model cannot read the conversation; the same request never succeeds."""


Done = Callable[[int, ScoredTexts | None], None]
"""Called with the place of each item as it is scored; None if it was refused."""


async def score_all(url: str, items: Sequence[ToScore], done: Done) -> None:
    """Score all items. A prompt that is too long loses its beginning."""
    places = asyncio.Semaphore(IN_FLIGHT)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(url, timeout=timeout) as session:

        async def one(place: int, item: ToScore) -> None:
            async with places:
                try:
                    found = await _score(session, item)
                except RefusedError:
                    done(place, None)
                else:
                    done(place, found)

        async with asyncio.TaskGroup() as group:
            for place, item in enumerate(items):
                group.create_task(one(place, item))


async def _score(session: aiohttp.ClientSession, item: ToScore) -> ScoredTexts:
    body = {
        "items": [{"messages": list(item.messages), "completions": list(item.texts)}],
        "on_overflow": "truncate_prompt",
        "partial": item.partial,
    }
    async with session.post("/v1/score", json=body) as answer:
        if answer.status == 400:
            raise RefusedError(await answer.text())
        answer.raise_for_status()
        [result] = (await answer.json())["results"]
    return ScoredTexts(result["rewards"], any(result["truncated"]))
