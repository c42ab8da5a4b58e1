"""What a verifier is."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from bon_common.messages import part_text
from bon_gateway.types import Message, RewardRequest, Verdict

INLINE_CHARACTERS = 4096
"""A longer answer is verified in a thread, so that the event loop goes on."""


class Verifier(ABC):
    """Says of answers whether they are right."""

    asks: ClassVar[bool] = False
    """Whether it asks a server. Then it is asked only for answers that no other has failed."""

    async def start(self) -> None:
        """Open what it needs. Returns at once."""
        return

    async def close(self) -> None:
        return None

    async def trial(self) -> Mapping[str, str | None]:
        """What is wrong with each server that it asks, by its place; None if it answers. Nothing is
        verified, and so nothing is tried of what a server does with a call."""
        return {}

    @abstractmethod
    async def verify(self, request: RewardRequest, answers: Sequence[Message]) -> Sequence[Verdict]:
        """A verdict on each of the assistant messages that answer ``request``: same order, same
        length. What goes wrong is an abstention, with its reason. Cancelling the call drops the
        work at a server too."""


class LocalVerifier(Verifier):
    """One that computes its verdict, from one answer at a time."""

    inline: ClassVar[int] = INLINE_CHARACTERS
    """Characters up to which it takes so little time that it runs in the event loop."""

    def __init__(self) -> None:
        self._alone = asyncio.Lock()
        """Held while a thread works. Only one can run at once, and the event loop would have to
        wait for its turn among them."""

    @abstractmethod
    def judge(self, request: RewardRequest, answer: Message, text: str) -> Verdict:
        """``text`` is what the answer says. It may be called in a thread."""

    async def verify(self, request: RewardRequest, answers: Sequence[Message]) -> Sequence[Verdict]:
        verdicts = []
        for answer in answers:
            text = text_of(answer)
            if len(text) <= self.inline:
                verdicts.append(self.judge(request, answer, text))
            else:
                async with self._alone:
                    verdicts.append(await asyncio.to_thread(self.judge, request, answer, text))
        return verdicts


def text_of(answer: Message) -> str:
    """What an answer says, in one text."""
    content = answer.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "\n".join(filter(None, map(part_text, parts)))
