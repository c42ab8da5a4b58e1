"""A judge model compares every two answers in both orders.

Judges prefer a place (Zheng et al. 2023, arXiv:2306.05685): a verdict counts only if it is the
same when the answers change places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Literal

from pydantic import field_validator

from bon_common.judging import (
    MAX_TOKENS,
    PROMPT,
    Choice,
    conversation_text,
    fill,
    read_verdict,
    require_fields,
)
from trainers.base.data import Message
from trainers.base.messages import text_of
from trainers.base.settings import Positive
from trainers.endpoint.chat import ask
from trainers.endpoint.http import JsonClient
from trainers.endpoint.settings import ChatSettings
from trainers.endpoint.work import together
from trainers.preferences.labellers.protocol import Block, Labeller, LabellerSettings
from trainers.preferences.records import Listwise
from trainers.preferences.verdicts import Compare, Comparison, Outcome, Verdict, places

DISAGREES = "judge's verdict depends on the order"
BOTH_FIRST = "judge preferred what was shown first, in both orders"
BOTH_SECOND = "judge preferred what was shown second, in both orders"
UNREADABLE = "judge's verdict cannot be read"

STRAIGHT: Mapping[Choice, Outcome] = MappingProxyType({"A": "first", "B": "second", "TIE": "tie"})
SWAPPED: Mapping[Choice, Outcome] = MappingProxyType({"A": "second", "B": "first", "TIE": "tie"})


class JudgeSettings(LabellerSettings):
    """A judge model. Each two answers are shown in both orders, to cancel position bias."""

    type: Literal["judge"]
    endpoint: ChatSettings
    prompt: str = PROMPT
    """With {conversation}, {a} and {b}; the verdict is the last [[A]], [[B]] or [[tie]]."""
    max_tokens: Positive = MAX_TOKENS
    """Longest verdict, reasons included."""
    on_disagreement: Literal["drop", "tie"] = "drop"
    """What it means when the verdict depends on the order; counted either way."""
    compare: Compare = "all"
    """Which answers of one prompt are compared."""

    @field_validator("prompt")
    @classmethod
    def _has_all_fields(cls, value: str) -> str:
        return require_fields(value, "conversation", "a", "b")

    @asynccontextmanager
    async def opened(
        self, margins: Mapping[str, float], show: Callable[[str], None]
    ) -> AsyncIterator[Labeller]:
        async with JsonClient(self.endpoint) as client:
            yield JudgeLabeller(client, self)

    @property
    def failures_in_a_row(self) -> int:
        return self.endpoint.give_up_after


class JudgeLabeller:
    """Asks an OpenAI endpoint at temperature 0."""

    block = 1

    def __init__(self, client: JsonClient, settings: JudgeSettings) -> None:
        self._client = client
        self._settings = settings
        self.concurrency = settings.endpoint.concurrency

    async def label(self, tasks: Block) -> list[Verdict]:
        return [await self._verdict(task) for task in tasks]

    async def _verdict(self, task: Listwise) -> Verdict:
        pairs = places(len(task.candidates), self._settings.compare)
        shown = [order for i, j in pairs for order in ((i, j), (j, i))]
        replies = await together(self._ask(task, a, b) for a, b in shown)
        comparisons, dropped, noted = [], Counter[str](), Counter[str]()
        for (i, j), once, again in zip(pairs, replies[::2], replies[1::2], strict=True):
            outcome = self._outcome(read_verdict(once), read_verdict(again), dropped, noted)
            if outcome is not None:
                comparisons.append(Comparison(i, j, outcome))
        return Verdict(
            comparisons=tuple(comparisons), dropped=dropped, noted=noted, replies=tuple(replies)
        )

    async def _ask(self, task: Listwise, a: int, b: int) -> str:
        text = fill(
            self._settings.prompt,
            conversation=conversation_text(task.prompt),
            a=text_of(task.candidates[a].answer),
            b=text_of(task.candidates[b].answer),
        )
        reply = await ask(
            self._client,
            self._settings.endpoint,
            [Message(role="user", content=text)],
            temperature=0.0,
            max_tokens=self._settings.max_tokens,
            seed=0,
        )
        return reply.text

    def _outcome(
        self,
        once: Choice | None,
        again: Choice | None,
        dropped: Counter[str],
        noted: Counter[str],
    ) -> Outcome | None:
        """`again` is the verdict with the places changed."""
        if once is None or again is None:
            dropped[UNREADABLE] += 1
            return None
        if STRAIGHT[once] == SWAPPED[again]:
            return STRAIGHT[once]
        if once == again:
            noted[BOTH_FIRST if once == "A" else BOTH_SECOND] += 1
        if self._settings.on_disagreement == "tie":
            noted[DISAGREES] += 1
            return "tie"
        dropped[DISAGREES] += 1
        return None
