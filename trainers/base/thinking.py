"""What a policy drew as a message: its thinking, which is no part of the answer that is judged, and
its calls of tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from bon_common.thinking import split_thinking
from trainers.base.data import Message
from trainers.base.settings import Settings
from trainers.base.tool_calls import split_calls


class ThinkingMarks(Settings):
    """How the policy marks its thinking, as `thinking` of the gateway's policy."""

    start: Annotated[str, Field(min_length=1)] = "<think>"
    """Where thinking begins."""
    end: Annotated[str, Field(min_length=1)] = "</think>"
    """Where thinking ends: the first of these marks. It counts without `start` too, because some
    chat templates write `start` into the prompt."""


def drawn_message(
    text: str, marks: ThinkingMarks | None, tools: Sequence[Mapping[str, Any]] = ()
) -> Message:
    """What a policy wrote, as the assistant's message: its thinking apart, if it marks any, and its
    calls, if it was given `tools`. An answer that was cut while it was thinking says nothing."""
    # In the order of vLLM and the gateway: the calls, then what is left of the content.
    content, calls = split_calls(text) if tools else (text, [])
    thought = ""
    if marks is not None:
        thought, answer = split_thinking(content, marks.start, marks.end)
        content = answer or ""
    message = Message(role="assistant", content=content)
    if thought:
        message["reasoning_content"] = thought
    if calls:
        message["tool_calls"] = calls
    return message
