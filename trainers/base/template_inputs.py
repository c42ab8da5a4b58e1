"""What a chat template reads beside the messages: tool definitions, and variables of its own.

They are part of the prompt: the same question with other tools is another question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bon_common.chat_template import OWN_ARGUMENTS
from trainers.base.lines import BadLineError
from trainers.base.strict_json import loads

TOOLS, FUNCTIONS, TEMPLATE_KWARGS = "tools", "functions", "chat_template_kwargs"
INPUT_KEYS = frozenset((TOOLS, FUNCTIONS, TEMPLATE_KWARGS))
"""The fields of a record that hold them."""


@dataclass(frozen=True)
class TemplateInputs:
    """Beside the messages of one conversation."""

    tools: Sequence[Mapping[str, Any]] = ()
    """OpenAI tool definitions."""
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Variables of the policy's template (`chat_template_kwargs`), such as `enable_thinking`. A
    reward model is served without them, and so it is trained without them."""

    def as_json(self) -> dict[str, Any]:
        """The fields of a record; none where there is nothing."""
        found = {TOOLS: list(self.tools), TEMPLATE_KWARGS: dict(self.template_kwargs)}
        return {key: value for key, value in found.items() if value}


NO_INPUTS = TemplateInputs()


def read_inputs(values: Mapping[str, Any]) -> TemplateInputs:
    """What a record has of them; BadLineError names the faulty field."""
    key = TOOLS if values.get(TOOLS) else FUNCTIONS
    try:
        tools = read_tools(values.get(key))
    except BadLineError as error:
        raise BadLineError(f"{key}{error}") from error
    try:
        return TemplateInputs(tuple(tools), read_template_kwargs(values.get(TEMPLATE_KWARGS)))
    except BadLineError as error:
        raise BadLineError(f"{TEMPLATE_KWARGS}{error}") from error


def read_tools(value: object) -> list[dict[str, Any]]:
    """Tool definitions, from a list or its JSON text; a bare function, as the older `functions`
    and many data sets have it, gets OpenAI's form. BadLineError begins behind the field's name."""
    found = _decoded(value)
    if not found:
        return []
    if not isinstance(found, list):
        raise BadLineError(": a list of tool definitions is expected")
    return [_tool(_decoded(one), index) for index, one in enumerate(found)]


def _tool(value: object, index: int) -> dict[str, Any]:
    function = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(function, dict):
        raise BadLineError(f".{index}: a tool definition is expected")
    if not isinstance(function.get("name"), str):
        raise BadLineError(f".{index}.function.name: missing")
    if "function" in value:
        # As it is, down to the order of its keys: templates print it.
        return value if "type" in value else {"type": "function", **value}
    bare = {key: part for key, part in value.items() if key != "type"}
    return {"type": "function", "function": bare}


def read_template_kwargs(value: object) -> dict[str, Any]:
    """Variables of the template, from an object or its JSON text; errors as `read_tools`."""
    found = _decoded(value)
    if not found:
        return {}
    if not isinstance(found, dict):
        raise BadLineError(": an object is expected")
    for name in sorted(OWN_ARGUMENTS & found.keys()):
        raise BadLineError(f".{name}: no variable of a chat template")
    return found


def _decoded(value: object) -> object:
    """JSON text as what it stands for: tables hold no lists of unlike objects, so data sets put
    them into text."""
    if not isinstance(value, str) or not value.strip():
        return None if isinstance(value, str) else value
    try:
        return loads(value)
    except ValueError as error:
        raise BadLineError(": broken JSON") from error
    except RecursionError as error:
        raise BadLineError(": broken JSON: nested too deeply") from error
