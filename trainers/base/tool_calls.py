"""Calls of tools in what a policy wrote, read as vLLM's `hermes` parser reads them.

A server hands them on as calls, so the reward model reads them as its template writes calls.
"""

from __future__ import annotations

import json
import re
from typing import Any

from trainers.base.turns import call_id

START = "<tool_call>"
_CALL = re.compile(r"<tool_call>(.*?)</tool_call>|<tool_call>(.*)", re.DOTALL)


def split_calls(text: str) -> tuple[str, list[dict[str, Any]]]:
    """The text before the first call, and all calls; all of the text if one of them is broken."""
    if START not in text:
        return text, []
    try:
        found = [json.loads(whole or rest) for whole, rest in _CALL.findall(text)]
        calls = [{"name": one["name"], "arguments": one["arguments"]} for one in found]
    except (ValueError, KeyError, TypeError, RecursionError):
        return text, []
    if not all(isinstance(call["name"], str) for call in calls):
        return text, []
    return text[: text.index(START)], [_as_call(**call) for call in calls]


def _as_call(name: str, arguments: object) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
    return {"id": call_id(function), "type": "function", "function": function}
