"""Chat messages as the trainers take them, from the many ways in which files hold them.

A string is a user's message where a prompt is expected and an assistant's where an answer is.
Content in parts is joined as vLLM joins it. What is not text is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from bon_common.judging.conversation import turn_text
from bon_common.messages import MessageError, content_text
from trainers.base.data import Message
from trainers.base.lines import BadLineError, NotTextError
from trainers.base.turns import tidied, tidied_turns

ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
TEXT_KEYS: tuple[Literal["tool_call_id", "name", "reasoning_content"], ...] = (
    "tool_call_id",
    "name",
    "reasoning_content",
)
"""Keys of a message beside role, content and tool calls."""
ANSWER_ROLES = frozenset({"assistant", "tool"})


def prompt_messages(value: Any, name: str) -> list[Message]:
    """A prompt: at least one message, the last one not the assistant's.

    Raises BadLineError naming `name` and the place in it.
    """
    if isinstance(value, str):
        _require_unicode(value, name)
        return [Message(role="user", content=value)]
    messages = chat_messages(value, name)
    if messages[-1]["role"] not in ("user", "tool"):
        raise BadLineError(
            f"{name}: the last message must be the user's, it is the {messages[-1]['role']}'s"
        )
    return messages


def answer_messages(value: Any, name: str) -> list[Message]:
    """An answer: the assistant's messages, and tool results between them.

    Raises BadLineError naming `name` and the place in it.
    """
    if isinstance(value, str):
        _require_unicode(value, name)
        return [Message(role="assistant", content=value)]
    messages = chat_messages([value] if isinstance(value, Mapping) else value, name)
    for index, message in enumerate(messages):
        ends = index in (0, len(messages) - 1)
        if message["role"] not in ANSWER_ROLES or (ends and message["role"] != "assistant"):
            raise BadLineError(
                f"{name}.{index}.role: an answer is the assistant's, this is the "
                f"{message['role']}'s"
            )
    return messages


def chat_messages(value: Any, name: str) -> list[Message]:
    """A list of messages of any known roles; BadLineError naming `name` and the place in it."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise BadLineError(f"{name}: text or a list of messages is expected")
    if not value:
        raise BadLineError(f"{name}: no messages")
    turns = tidied_turns(list(value))
    assert isinstance(turns, list)
    return [_message(item, f"{name}.{index}") for index, item in enumerate(turns)]


def _message(given: Any, name: str) -> Message:
    try:
        value = tidied(given)
    except BadLineError as error:
        raise type(error)(f"{name}{error}") from error
    if not isinstance(value, Mapping):
        raise BadLineError(f"{name}: a message with role and content is expected")
    role = value.get("role")
    if not isinstance(role, str):
        raise BadLineError(f"{name}.role: missing")
    if role not in ROLES:
        raise BadLineError(f"{name}.role: unknown role {role!r}")
    calls = value.get("tool_calls")
    if "content" not in value and not calls:
        raise BadLineError(f"{name}.content: missing")
    message = Message(role=role, content=_content(value.get("content"), f"{name}.content"))
    if calls:
        if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
            raise BadLineError(f"{name}.tool_calls: a list of objects is expected")
        message["tool_calls"] = calls
    for key in TEXT_KEYS:
        if key in value:
            message[key] = _text(value, key, name)
    return message


def _text(value: Mapping[str, Any], key: str, name: str) -> str:
    if not isinstance(value[key], str):
        raise BadLineError(f"{name}.{key}: text is expected")
    _require_unicode(value[key], f"{name}.{key}")
    return str(value[key])


def _content(value: Any, name: str) -> str:
    try:
        text = content_text(value)
    except MessageError as error:
        raise NotTextError(f"{name}: only text can be learnt from") from error
    _require_unicode(text, name)
    return text


def _require_unicode(text: str, name: str) -> None:
    """Half a surrogate pair passes through JSON, but no file and no tokenizer takes it."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadLineError(f"{name}: half a surrogate pair") from error


def is_empty(messages: Sequence[Message]) -> bool:
    """Whether the last message says nothing: no text but spaces, and no tool calls."""
    last = messages[-1]
    return not last["content"].strip() and not last.get("tool_calls")


def text_length(messages: Sequence[Message]) -> int:
    """Characters of content of all messages."""
    return sum(len(message["content"]) for message in messages)


def text_of(answer: Sequence[Message]) -> str:
    """The text of an answer, as a rule reads it."""
    return "\n".join(message["content"] for message in answer if message["content"])


def shown_answer(answer: Sequence[Message]) -> str:
    """An answer as a judge reads it, with the calls of tools."""
    return "\n".join(filter(None, map(turn_text, answer)))
