"""The interface of a verifier."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from bon_common.messages import part_text
from bon_gateway.types import Message, RewardRequest
from bon_gateway.verdicts import ONLY_CALLS, Verdict, abstained

INLINE_CHARACTERS = 4096
"""A longer answer is verified in a thread, so that the event loop goes on."""


class Verifier(ABC):
    """Says whether answers are right."""

    asks: ClassVar[bool] = False
    """Whether it asks a server. Then it only gets answers that no other verifier has failed."""

    async def start(self) -> None:
        """Open what it needs. Returns at once."""
        return

    async def close(self) -> None:
        return None

    async def trial(self) -> Mapping[str, str | None]:
        """The trouble of each server that it asks, by its place; None if the server answers. It
        verifies nothing, so it does not test how a server handles a real call."""
        return {}

    @abstractmethod
    async def verify(self, request: RewardRequest, answers: Sequence[Message]) -> Sequence[Verdict]:
        """A verdict on each of the assistant messages that answer ``request``: same order, same
        length. A fault is an abstention with its reason. Cancelling the call also drops the work at
        a server."""


class LocalVerifier(Verifier):
    """A verifier that computes its verdict here, one answer at a time."""

    reads_calls: bool = False
    """Whether it reads an answer's tool calls; see ``only_calls``."""

    inline: ClassVar[int] = INLINE_CHARACTERS
    """Longest answer, in characters, that it verifies in the event loop: it takes little time."""

    def __init__(self) -> None:
        self._alone = asyncio.Lock()
        """Held while a thread works. Threads share one interpreter lock, and several would make the
        event loop wait."""

    @abstractmethod
    def judge(self, request: RewardRequest, answer: Message, text: str) -> Verdict:
        """``text`` is the answer's text. It may be called in a thread."""

    async def verify(self, request: RewardRequest, answers: Sequence[Message]) -> Sequence[Verdict]:
        verdicts = []
        for answer in answers:
            text = text_of(answer)
            if not self.reads_calls and only_calls(answer, text):
                verdicts.append(abstained(ONLY_CALLS))
            elif len(text) <= self.inline:
                verdicts.append(self.judge(request, answer, text))
            else:
                async with self._alone:
                    verdicts.append(await asyncio.to_thread(self.judge, request, answer, text))
        return verdicts


def only_calls(answer: Message, text: str) -> bool:
    """Whether an answer calls tools and says nothing. A verifier that reads text abstains on it:
    there is no text that could be right or wrong."""
    return bool(answer.get("tool_calls")) and not text.strip()


def text_of(answer: Message) -> str:
    """An answer's text in one piece."""
    content = answer.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "\n".join(filter(None, map(part_text, parts)))
