"""A model rewrites answers; the rewrite is preferred to the original."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from pydantic import Field

from trainers.base.messages import text_of
from trainers.base.settings import Positive
from trainers.endpoint.chat import ChatAnswer
from trainers.endpoint.http import JsonClient
from trainers.endpoint.work import together
from trainers.preferences.labellers.base import ChatLabeller
from trainers.preferences.labels import Label
from trainers.preferences.records import Listwise

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


class RewriteLabeller(ChatLabeller):
    """A model that rewrites each answer; the rewrite is preferred to the original."""

    least_answers = 1
    placeholders = ("conversation", "answer")

    type: Literal["rewrite"]
    prompt: str = PROMPT
    """With {conversation} and {answer}."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """Sampling temperature of the rewrites; 0 is greedy."""
    max_tokens: Positive = 1024
    """Longest rewrite."""

    async def label(self, client: JsonClient, task: Listwise) -> Label:
        texts = [text_of(candidate.answer) for candidate in task.candidates]
        replies = await together(
            self.ask(client, task, self.temperature, answer=text) for text in texts
        )
        rewrites, dropped = {}, Counter[str]()
        for place, (text, reply) in enumerate(zip(texts, replies, strict=True)):
            fault = _fault(text, reply)
            if fault is None:
                rewrites[place] = reply.text.strip()
            else:
                dropped[fault] += 1
        return Label(rewrites=rewrites, dropped=dropped)


def _fault(answer: str, reply: ChatAnswer) -> str | None:
    rewrite = reply.text.strip()
    if not rewrite:
        return EMPTY
    if reply.finish_reason == "length":
        return CUT
    return SAME if rewrite == answer.strip() else None
