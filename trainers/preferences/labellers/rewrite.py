"""A model rewrites answers; what it wrote is preferred to what it was made from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from pydantic import Field, field_validator

from bon_common.judging import conversation_text, fill, require_fields
from trainers.base.data import Message
from trainers.base.messages import text_of
from trainers.base.settings import Positive
from trainers.endpoint.chat import ask
from trainers.endpoint.http import JsonClient
from trainers.endpoint.settings import ChatSettings
from trainers.endpoint.work import together
from trainers.preferences.labellers.protocol import Block, Labeller, LabellerSettings
from trainers.preferences.records import Listwise
from trainers.preferences.verdicts import Verdict

PROMPT = """\
Here is a conversation and an answer to it that could be better. Write the answer as it should \
have been. Reply with the new answer alone.

# Conversation
{conversation}

# Answer
{answer}"""

CUT = "rewrite cut at its token limit"
EMPTY = "empty rewrite"
SAME = "rewrite equals the answer"


class RewriteSettings(LabellerSettings):
    """A model that rewrites each answer; the rewrite is preferred to what it was made from."""

    least_answers = 1

    type: Literal["rewrite"]
    endpoint: ChatSettings
    prompt: str = PROMPT
    """With {conversation} and {answer}."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """Rewrites are drawn at it; 0 is greedy."""
    max_tokens: Positive = 1024
    """Longest rewrite."""

    @field_validator("prompt")
    @classmethod
    def _has_all_fields(cls, value: str) -> str:
        return require_fields(value, "conversation", "answer")

    @asynccontextmanager
    async def opened(
        self, margins: Mapping[str, float], show: Callable[[str], None]
    ) -> AsyncIterator[Labeller]:
        async with JsonClient(self.endpoint) as client:
            yield RewriteLabeller(client, self)

    @property
    def failures_in_a_row(self) -> int:
        return self.endpoint.give_up_after


class RewriteLabeller:
    """Asks an OpenAI endpoint for a better version of each answer."""

    block = 1

    def __init__(self, client: JsonClient, settings: RewriteSettings) -> None:
        self._client = client
        self._settings = settings
        self.concurrency = settings.endpoint.concurrency

    async def label(self, tasks: Block) -> list[Verdict]:
        return [await self._verdict(task) for task in tasks]

    async def _verdict(self, task: Listwise) -> Verdict:
        texts = [text_of(candidate.answer) for candidate in task.candidates]
        replies = await together(self._ask(task, text) for text in texts)
        rewrites, dropped = {}, dict[str, int]()
        for place, (text, (reply, finish_reason)) in enumerate(zip(texts, replies, strict=True)):
            fault = _fault(text, reply, finish_reason)
            if fault is None:
                rewrites[place] = reply
            else:
                dropped[fault] = dropped.get(fault, 0) + 1
        return Verdict(rewrites=rewrites, dropped=dropped)

    async def _ask(self, task: Listwise, answer: str) -> tuple[str, str | None]:
        text = fill(
            self._settings.prompt,
            conversation=conversation_text(task.prompt),
            answer=answer,
        )
        reply = await ask(
            self._client,
            self._settings.endpoint,
            [Message(role="user", content=text)],
            temperature=self._settings.temperature,
            max_tokens=self._settings.max_tokens,
            seed=0,
        )
        return reply.text.strip(), reply.finish_reason


def _fault(answer: str, rewrite: str, finish_reason: str | None) -> str | None:
    if not rewrite:
        return EMPTY
    if finish_reason == "length":
        return CUT
    return SAME if rewrite == answer.strip() else None
