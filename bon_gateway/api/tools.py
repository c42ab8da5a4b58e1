"""The tools of a chat request and the choice among them, checked by hand.

There may be many. ``schemas.bounds`` looks at what their schemas hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bon_gateway.errors import BadRequestError


def check_tools(tools: Any, where: str = "tools") -> None:
    """Raises BadRequestError for the first part that vLLM would refuse; ``where`` is the place of
    the tools in the body."""
    if tools is None:
        return
    if not isinstance(tools, list):
        raise BadRequestError.at(where, "must be a list")
    for position, tool in enumerate(tools):
        at = f"{where}[{position}]"
        if not isinstance(tool, Mapping):
            raise BadRequestError.at(at, "must be an object")
        function = tool.get("function")
        if not isinstance(function, Mapping):
            raise BadRequestError.at(f"{at}.function", "must be an object with a name")
        if not isinstance(function.get("name"), str):
            raise BadRequestError.at(f"{at}.function.name", "must be text")
        if not isinstance(function.get("parameters"), Mapping | None):
            raise BadRequestError.at(f"{at}.function.parameters", "must be an object")
        if not isinstance(tool.get("type", "function"), str):
            raise BadRequestError.at(f"{at}.type", "must be text")


def check_tool_choice(choice: Any) -> None:
    """Raises BadRequestError. It names the kinds that OpenAI has and vLLM has not; pydantic's words
    about a union would mislead."""
    if choice is None or choice in ("none", "auto", "required"):
        return
    if not isinstance(choice, Mapping):
        raise BadRequestError.at(
            "tool_choice", "must be none, auto, required, or an object that names a function"
        )
    kind = choice.get("type", "function")
    if kind != "function":
        raise BadRequestError.at(
            "tool_choice",
            f"the type {str(kind)[:100]!r} is not supported; none, auto, required or one named"
            " function is",
        )
    function = choice.get("function")
    if not isinstance(function, Mapping):
        raise BadRequestError.at("tool_choice.function", "must be an object with a name")
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise BadRequestError.at("tool_choice.function.name", "must name a function")
