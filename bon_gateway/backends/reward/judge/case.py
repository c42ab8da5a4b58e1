"""The state of one request, shared by all calls for its candidates."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from bon_common.judging.conversation import conversation_text, turn_text
from bon_common.judging.markup import without_control_marks
from bon_common.messages import MessageError, content_text, plain_message
from bon_gateway.backends.pool.replica import Replica
from bon_gateway.errors import RewardRefusedError
from bon_gateway.types import Message, RewardRequest

LONG = 65_536
"""Characters above which texts are made in a thread, because other requests would wait."""


class Budget:
    """The budget that is left for one request."""

    def __init__(self, calls: int, tokens: int | None) -> None:
        self.calls = calls
        """Number of calls that are still allowed."""
        self._tokens = tokens

    def take_call(self) -> bool:
        """Count one more call and return True, if the budget allows it. Running calls may still
        take more tokens than are left."""
        if self.calls <= 0 or (self._tokens is not None and self._tokens <= 0):
            return False
        self.calls -= 1
        return True

    def spend(self, tokens: int) -> None:
        if self._tokens is not None:
            self._tokens -= tokens


class Case:
    """One conversation whose answers are judged."""

    def __init__(
        self, conversation: str, messages: Sequence[Message], budget: Budget, at_once: int
    ) -> None:
        self.conversation = conversation
        self.messages = messages
        self.budget = budget
        self.at_once = asyncio.Semaphore(at_once)
        self.home: Replica | None = None
        """The last replica: its cache holds the conversation."""
        self.rewards: dict[str, float] = {}
        """Rewards by the answer's text, if they compare with those of later calls."""


async def open_case(request: RewardRequest, budget: Budget, at_once: int) -> Case:
    """Raises RewardRefusedError for a conversation that is not text."""
    if request.tools or sum(map(_size, request.messages)) > LONG:
        messages, text = await asyncio.to_thread(_read, request)
    else:
        messages, text = _read(request)
    return Case(text, messages, budget, at_once)


def _read(request: RewardRequest) -> tuple[list[dict[str, Any]], str]:
    messages = []
    for place, message in enumerate(request.messages):
        try:
            plain = plain_message(message)
        except MessageError as error:
            raise RewardRefusedError(
                "The judge reads text only, and the conversation holds something else.",
                param=f"messages[{place}].{error.place}",
            ) from None
        plain["content"] = without_control_marks(plain["content"])
        messages.append(plain)
    tools = [tool for tool in request.tools or () if isinstance(tool, Mapping)]
    return messages, without_control_marks(conversation_text(messages, tools))


async def answer_texts(completions: Sequence[Message]) -> list[str]:
    """The answers as the judge sees them. Raises RewardRefusedError for one that is not text."""
    if sum(map(_size, completions)) > LONG:
        return await asyncio.to_thread(_texts, completions)
    return _texts(completions)


def _texts(completions: Sequence[Message]) -> list[str]:
    texts = []
    for place, message in enumerate(completions):
        try:
            content = content_text(message.get("content"))
        except MessageError:
            raise RewardRefusedError(
                "The judge reads text only, and an answer holds something else.", answer=place
            ) from None
        texts.append(without_control_marks(turn_text({**message, "content": content})))
    return texts


def _size(message: Message) -> int:
    content = message.get("content")
    if message.get("tool_calls"):
        # Their arguments may be long too, and are not measured.
        return LONG + 1
    if isinstance(content, str):
        return len(content)
    return 0 if content is None else LONG + 1
