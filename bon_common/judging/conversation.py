"""A conversation as a judge reads it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any


def conversation_text(
    messages: Iterable[Mapping[str, Any]], tools: Iterable[Mapping[str, Any]] = ()
) -> str:
    """The conversation as the judge sees it, with the tools that the assistant may call."""
    known = [json.dumps(tool, ensure_ascii=False) for tool in tools]
    shown = ["\n".join(("tools:", *known))] if known else []
    return "\n\n".join([*shown, *(f"{one['role']}: {turn_text(one)}" for one in messages)])


def turn_text(message: Mapping[str, Any]) -> str:
    """A message's text and tool calls, as the judge sees them."""
    calls = map(_called, message.get("tool_calls") or ())
    shown = (f"[calls {one['name']} with {_arguments(one)}]" for one in calls if "name" in one)
    return "\n".join(filter(None, (message.get("content") or "", *shown)))


def _called(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """The called function. A client's call may hold anything in that place."""
    function = call.get("function")
    return function if function and isinstance(function, Mapping) else call


def _arguments(function: Mapping[str, Any]) -> str:
    arguments = function.get("arguments")
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
