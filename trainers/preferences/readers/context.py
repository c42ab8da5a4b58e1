"""Columns beside a prompt that are part of it: a system prompt, earlier turns, Alpaca's input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainers.base.data import Message
from trainers.base.lines import BadLineError, NotTextError
from trainers.base.messages import chat_messages, prompt_messages
from trainers.base.prompt_text import HISTORY, MEDIA_KEYS, SYSTEM_KEYS

SYSTEM_ROLES = ("system", "developer")


def refuse_media(values: Mapping[str, Any]) -> None:
    """Raise NotTextError for a record with an image, a video or a sound beside its text."""
    for key in MEDIA_KEYS:
        if values.get(key):
            raise NotTextError(f"{key}: only text can be learnt from")


def with_context(values: Mapping[str, Any], messages: Sequence[Message]) -> list[Message]:
    """The messages after the system prompt and the earlier turns of the record's own columns."""
    return with_system(values, [*_history(values), *messages])


def with_system(values: Mapping[str, Any], messages: Sequence[Message]) -> list[Message]:
    """The messages after the record's system prompt.

    Raises BadLineError if they begin with another one.
    """
    found = list(messages)
    for key in SYSTEM_KEYS:
        content = values.get(key)
        if content is None or content == "":
            continue
        if not isinstance(content, str):
            raise BadLineError(f"{key}: text is expected")
        [message] = prompt_messages(content, key)
        message["role"] = "system"
        if found and found[0]["role"] in SYSTEM_ROLES:
            if found[0]["content"] != content:
                raise BadLineError(f"{key}: the conversation has another system prompt")
        else:
            found.insert(0, message)
    return found


def _history(values: Mapping[str, Any]) -> list[Message]:
    """Earlier turns: `[[question, answer], ...]`, or messages."""
    history = values.get(HISTORY)
    if not history:
        return []
    if not isinstance(history, list):
        raise BadLineError("history: a list of earlier turns is expected")
    if all(isinstance(turn, Mapping) for turn in history):
        return chat_messages(history, "history")
    messages: list[Message] = []
    for index, turn in enumerate(history):
        if (
            not isinstance(turn, list | tuple)
            or len(turn) != 2
            or not all(isinstance(said, str) for said in turn)
        ):
            raise BadLineError(f"history.{index}: a question and its answer are expected")
        asked, answered = turn
        messages += prompt_messages(asked, f"history.{index}.0")
        [reply] = prompt_messages(answered, f"history.{index}.1")
        messages.append(Message(role="assistant", content=reply["content"]))
    return messages


def with_input(values: Mapping[str, Any], instruction: str) -> str:
    """The instruction, a blank line, and what Alpaca (`input`) or Dolly (`context`) adds to it."""
    parts = [instruction]
    for key in ("input", "context"):
        more = values.get(key)
        if more is None or more == "":
            continue
        if not isinstance(more, str):
            raise BadLineError(f"{key}: text is expected")
        parts.append(more)
    return "\n\n".join(parts)
