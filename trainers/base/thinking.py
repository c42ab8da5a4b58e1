"""A policy's thinking in what it drew: reasoning, and no part of the answer that is judged."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bon_common.thinking import split_thinking
from trainers.base.data import Message
from trainers.base.settings import Settings


class ThinkingMarks(Settings):
    """How the policy marks its thinking, as `thinking` of the gateway's policy."""

    start: Annotated[str, Field(min_length=1)] = "<think>"
    """Where thinking begins."""
    end: Annotated[str, Field(min_length=1)] = "</think>"
    """Where thinking ends. It counts without `start` too, because some chat templates write `start`
    into the prompt."""


def drawn_message(text: str, marks: ThinkingMarks | None) -> Message:
    """What a policy wrote, as the assistant's message: its thinking apart, if it marks any. An
    answer that was cut while it was thinking says nothing."""
    if marks is None:
        return Message(role="assistant", content=text)
    thought, answer = split_thinking(text, marks.start, marks.end)
    message = Message(role="assistant", content=answer or "")
    if thought:
        message["reasoning_content"] = thought
    return message
