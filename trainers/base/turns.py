"""One message of a file in the one form that records have, whichever way the file holds it.

No content beside tool calls is empty content, parts of text are one text, reasoning stands under
`reasoning_content`, and the older `function_call` is a tool call. What cannot be read stays as it
is: the caller's checks name it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from bon_common.messages import REASONING, MessageError, content_text, split_reasoning
from trainers.base.lines import BadLineError, NotTextError
from trainers.base.prompt_text import MEDIA_KEYS
from trainers.base.strict_json import unstorable

REASONED = "reasoning_content"
OLD_CALL, OLD_RESULT = "function_call", "function"
"""OpenAI's names from before there were tools: a field of the assistant's, and a role."""


def tidied(value: object) -> object:
    """A message in that form; anything else as it is. BadLineError begins behind its place."""
    if not isinstance(value, Mapping):
        return value
    _require_text(value)
    message, reasoning = split_reasoning(_with_tools(value))
    if reasoning:
        message[REASONED] = reasoning
    for key in ("tool_calls", "name", "tool_call_id"):
        if message.get(key) is None or message[key] == []:
            message.pop(key, None)
    if isinstance(message.get("tool_calls"), list):
        message["tool_calls"] = _calls(message["tool_calls"])
    content = message.get("content")
    if content is None and "tool_calls" in message:
        message["content"] = ""
    elif isinstance(content, list):
        try:
            message["content"] = content_text(content)
        except MessageError:
            return message
    return message


def _require_text(value: Mapping[str, Any]) -> None:
    for key in REASONING:
        if not isinstance(value.get(key), str | None):
            raise BadLineError(f".{key}: text is expected")
    for key in MEDIA_KEYS:
        if value.get(key):
            raise NotTextError(f".{key}: only text can be learnt from")


def tidied_turns(value: object) -> object:
    """A list of messages, with the results of older function calls led back to their calls."""
    if not isinstance(value, list):
        return value
    turns: list[object] = []
    called: str | None = None
    for turn in value:
        if isinstance(turn, Mapping):
            if isinstance(turn.get(OLD_CALL), Mapping):
                called = call_id(turn[OLD_CALL])
            if turn.get("role") == OLD_RESULT and called is not None:
                turn = {**turn, "tool_call_id": called}  # noqa: PLW2901  # the file's stays whole
        turns.append(turn)
    return turns


def _with_tools(value: Mapping[str, Any]) -> dict[str, Any]:
    message = dict(value)
    if message.get("role") == OLD_RESULT:
        message["role"] = "tool"
    call = message.pop(OLD_CALL, None)
    if call is None or message.get("tool_calls"):
        return message
    if not isinstance(call, Mapping) or not isinstance(call.get("name"), str):
        raise BadLineError(f".{OLD_CALL}: an object with name and arguments is expected")
    function = {"name": call["name"], "arguments": call.get("arguments") or "{}"}
    message["tool_calls"] = [{"id": call_id(call), "type": "function", "function": function}]
    return message


def _calls(calls: list[Any]) -> list[Any]:
    """Calls in OpenAI's form, which is the only one that a server takes; those without `function`
    around name and arguments get it."""
    reason = unstorable(calls)
    if reason is not None:
        raise BadLineError(f".tool_calls: {reason}")
    return [
        _call(call, f".tool_calls.{index}") if isinstance(call, Mapping) else call
        for index, call in enumerate(calls)
    ]


def _call(call: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    function = call.get("function", call)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise BadLineError(f"{place}.function.name: missing")
    if not isinstance(function.get("arguments"), str | Mapping | None):
        raise BadLineError(f"{place}.function.arguments: text or an object is expected")
    if "function" in call:
        return call
    bare = {key: call[key] for key in ("name", "arguments") if key in call}
    rest = {key: value for key, value in call.items() if key not in bare}
    return {**rest, "type": "function", "function": bare}


def call_id(call: Mapping[str, Any]) -> str:
    """Nine letters and digits, which every template that asks for an id takes."""
    text = json.dumps([call.get("name"), call.get("arguments")], sort_keys=True)
    return f"c{hashlib.sha256(text.encode()).hexdigest()[:8]}"
