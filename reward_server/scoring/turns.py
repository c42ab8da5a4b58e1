"""Messages as chat templates expect them: text content, decoded tool arguments.

What a message holds is the caller's, so anything that cannot be scored is named by its place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bon_common.json_values import most_values, running_count
from reward_server.errors import RenderError

MAX_VALUES = 100_000
"""Of one call's arguments. They are made into objects, during which no other thread runs."""


def answer_turn(completion: Mapping[str, Any] | str, where: str) -> dict[str, Any]:
    """A completion as the assistant's message. Raises RenderError."""
    if isinstance(completion, str):
        return {"role": "assistant", "content": completion}
    turn = plain_turn({"role": "assistant", **completion}, where)
    if turn["role"] != "assistant":
        raise RenderError("a completion is an assistant message", param=f"{where}.role")
    return turn


def plain_turn(message: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the message as templates expect it: text content, decoded tool arguments."""
    if not isinstance(message.get("role"), str):
        raise RenderError("role must be a string", param=f"{where}.role")
    plain = {**message, "content": _content(message.get("content"), f"{where}.content")}
    calls = message.get("tool_calls")
    if calls is None:
        plain.pop("tool_calls", None)
    elif isinstance(calls, list) and all(isinstance(call, Mapping) for call in calls):
        plain["tool_calls"] = [
            decoded_call(call, f"{where}.tool_calls[{i}]") for i, call in enumerate(calls)
        ]
    else:
        raise RenderError("tool_calls must be a list of objects", param=f"{where}.tool_calls")
    return plain


def _content(content: object, where: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    texts = []
    for part in content if isinstance(content, list) else [None]:
        text = part.get("text") if isinstance(part, Mapping) else None
        if not isinstance(text, str):
            raise RenderError("only text content can be scored", param=where)
        texts.append(text)
    # As vLLM joins them, so that policy and reward model read the same prompt.
    return "\n".join(texts)


def decoded_call(call: Mapping[str, Any], where: str = "tool_calls") -> dict[str, Any]:
    """Decode `function.arguments`: OpenAI sends a JSON string, templates print an object."""
    function = call.get("function")
    text = function.get("arguments") if isinstance(function, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(text, str):
        return dict(call)
    param = f"{where}.function.arguments"
    if _too_many_values(text):
        raise RenderError(f"the arguments hold more than {MAX_VALUES} values", param=param)
    try:
        arguments = json.loads(text)
    except ValueError:
        return dict(call)
    except RecursionError as error:
        raise RenderError("the arguments are nested too deeply", param=param) from error
    return {**call, "function": {**function, "arguments": arguments}}


def _too_many_values(text: str) -> bool:
    data = text.encode("utf-8", "surrogatepass")
    return most_values(data) > MAX_VALUES and any(n > MAX_VALUES for n in running_count(data))
