"""Chat messages as chat templates expect them: text content, decoded tool arguments.

Policy, reward model and trainers must read the same text in the same message, so the rule for which
parts count stands here alone. Errors name the place in the message and never quote it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bon_common.json_values import most_values, running_count

MAX_VALUES = 100_000
"""The most values in one call's arguments: no other thread runs while JSON becomes objects."""

_WORDS = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
    "thinking": "thinking",
    "tool_reference": "name",
}
"""The types of parts that hold text, and the field that holds it; the same as vLLM's."""
_LONGEST_TYPE = 40

REASONING = ("reasoning", "reasoning_content")
"""Fields of an assistant's message that hold its reasoning: vLLM's name for it, and the older one.
"""
_REASONING_PARTS = {"thinking": ("thinking",), "reasoning": ("reasoning", "text")}
"""The types of parts that hold reasoning, and the fields that may hold it."""


class MessageError(Exception):
    """A message that cannot be given to a template; ``place`` is a path within it."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.place = place
        self.reason = reason


def plain_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """The message with its content as text and its tool arguments decoded. Raises MessageError."""
    if not isinstance(message.get("role"), str):
        raise MessageError("role", "role must be a string")
    plain = {**message, "content": content_text(message.get("content"))}
    calls = message.get("tool_calls")
    if calls is None:
        plain.pop("tool_calls", None)
    elif isinstance(calls, list) and all(isinstance(call, Mapping) for call in calls):
        plain["tool_calls"] = [
            decoded_call(call, f"tool_calls[{index}]") for index, call in enumerate(calls)
        ]
    else:
        raise MessageError("tool_calls", "tool_calls must be a list of objects")
    return plain


def policy_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """As `plain_message`, in the form in which vLLM gives it to a policy's template: an assistant's
    reasoning stands under both of its names. Raises MessageError."""
    plain = plain_message(message)
    found = [plain.pop(field, None) for field in REASONING]
    reasoning = next((words for words in found if words is not None), None)
    if reasoning is None or plain["role"] != "assistant":
        return plain
    if not isinstance(reasoning, str):
        raise MessageError(REASONING[0], "reasoning must be a string")
    return plain | dict.fromkeys(REASONING, reasoning)


def split_reasoning(message: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The message without its reasoning, and that reasoning: "" if there is none.

    Only an assistant reasons. What other roles call so stays where it is.
    """
    if message.get("role") != "assistant":
        return dict(message), ""
    rest = {key: value for key, value in message.items() if key not in REASONING}
    found = [message.get(field) for field in REASONING]
    texts = [next((words for words in found if isinstance(words, str)), "")]
    content = message.get("content")
    if isinstance(content, list):
        texts += [words for part in content if (words := _reasoning_part(part)) is not None]
        rest["content"] = [part for part in content if _reasoning_part(part) is None]
    return rest, "\n".join(filter(None, texts))


def _reasoning_part(part: object) -> str | None:
    """The reasoning in a part; None if it is a part of the content."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(part, Mapping) or not isinstance(kind, str) or kind not in _REASONING_PARTS:
        return None
    found = (part.get(field) for field in _REASONING_PARTS[kind])
    return next((words for words in found if isinstance(words, str)), "")


def content_text(content: object) -> str:
    """A message's content as one text, with parts joined as vLLM joins them. Raises MessageError
    for content that is not text."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise MessageError("content", "content must be a string or a list of parts")
    texts = []
    for part in content:
        text = part_text(part)
        if text is None:
            kind = part.get("type") if isinstance(part, Mapping) else None
            named = kind[:_LONGEST_TYPE] if isinstance(kind, str) else "unknown"
            raise MessageError("content", f"only text can be read, not {named!r} parts")
        texts.append(text)
    return "\n".join(texts)


def part_text(part: object) -> str | None:
    """The text of a part, empty if the field is missing; None if the part is no text."""
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        return None
    kind = part.get("type", "text")
    field = _WORDS.get(kind) if isinstance(kind, str) else None
    if field is None or ("type" not in part and field not in part):
        return None
    words = part.get(field)
    return "" if words is None else words if isinstance(words, str) else None


def decoded_call(call: Mapping[str, Any], place: str = "tool_calls") -> dict[str, Any]:
    """Decode ``function.arguments``: OpenAI sends a JSON string, templates print an object.

    No arguments are an empty object, as in vLLM. Text that is no JSON stays as it is. Raises
    MessageError for arguments with too many values, or nested too deeply.
    """
    function = call.get("function")
    if not isinstance(function, Mapping):
        return dict(call)
    text = function.get("arguments")
    if text is None or text == "":
        return {**call, "function": {**function, "arguments": {}}}
    if not isinstance(text, str):
        return dict(call)
    at = f"{place}.function.arguments"
    if _too_many_values(text):
        raise MessageError(at, f"the arguments hold more than {MAX_VALUES} values")
    try:
        arguments = json.loads(text)
    except ValueError:
        return dict(call)
    except RecursionError:
        raise MessageError(at, "the arguments are nested too deeply") from None
    return {**call, "function": {**function, "arguments": arguments}}


def _too_many_values(text: str) -> bool:
    data = text.encode("utf-8", "surrogatepass")
    return most_values(data) > MAX_VALUES and any(n > MAX_VALUES for n in running_count(data))
