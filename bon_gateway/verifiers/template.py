"""Texts with places to fill in: ``{{ item.reference }}``, ``{{ sample.output_json.total }}``.

OpenAI's graders write them so. ``item`` is the request's ``metadata``, ``sample`` the answer:
``output_text``, ``output_json`` (the answer read as JSON), ``output_tools`` (its tool calls) and
``choices``. A path leads through objects by name and through lists by place: ``items[0].name``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator

from bon_gateway.types import Message, RewardRequest
from bon_gateway.verdicts import Verdict, abstained, failed

MOST_JSON = 65_536
"""Longest answer, in characters, that is read as JSON."""
TOO_LONG = "too_long"
_PLACE = re.compile(r"\{\{\s*(\w+)((?:\.\w+|\[\d{1,6}\])*)\s*\}\}")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
NAMESPACES = ("item", "sample")
OF_A_SAMPLE = ("output_text", "output_json", "output_tools", "choices")
_WITH_CALLS = ("output_tools", "choices")


class LackingError(Exception):
    """There is nothing to fill in at ``path``. ``unread``: the answer is too long to be read
    there."""

    def __init__(self, path: str, *, unread: bool = False) -> None:
        super().__init__(path)
        self.path = path
        self.unread = unread

    def verdict(self) -> Verdict:
        """A missing value is the answer's fault if it belongs to the answer, not if it belongs to
        the request or was not read."""
        if self.unread:
            return abstained(TOO_LONG)
        reason = f"no {self.path}"
        return failed(reason) if self.path.startswith("sample") else abstained(reason)


class NotPlainError(LackingError):
    """There are several values at ``path``, where one is needed."""

    def verdict(self) -> Verdict:
        return abstained(f"{self.path} is a list or an object")


def check_template(text: str) -> str:
    """Raises ValueError for a place that cannot be filled in."""
    for space, path in _PLACE.findall(text):
        first = _STEP.match(path)
        if space not in NAMESPACES or first is None:
            raise ValueError(f"{{{{ {space}{path} }}}}: should begin with item. or sample.")
        if space == "sample" and first[1] not in OF_A_SAMPLE:
            raise ValueError(f"{{{{ {space}{path} }}}}: a sample has {', '.join(OF_A_SAMPLE)}")
    if "{{" in _PLACE.sub("", text):
        raise ValueError("has a {{ that begins no {{ item.name }} or {{ sample.name }}")
    return text


TemplateText = Annotated[str, AfterValidator(check_template)]


def reads_calls(*templates: str) -> bool:
    """Whether one of them fills in tool calls."""
    return any(
        space == "sample" and path.startswith(tuple(f".{name}" for name in _WITH_CALLS))
        for template in templates
        for space, path in _PLACE.findall(template)
    )


def render(
    template: str, request: RewardRequest, answer: Message, text: str, *, plain: bool = False
) -> str:
    """``text`` is the answer's text. Raises LackingError; with ``plain`` also for a list or an
    object."""
    values: dict[str, Any] = {"item": request.metadata}

    def fill(place: re.Match[str]) -> str:
        space, path = place[1], place[2]
        if space == "sample" and "sample" not in values:
            values["sample"] = _sample(answer, text)
        if space == "sample" and len(text) > MOST_JSON and path.startswith(".output_json"):
            raise LackingError(space + path, unread=True)
        value = _at(values[space], space, path)
        if plain and isinstance(value, list | tuple | Mapping):
            raise NotPlainError(space + path)
        return _written(value)

    return _PLACE.sub(fill, template)


def _sample(answer: Message, text: str) -> dict[str, Any]:
    calls = answer.get("tool_calls") or []
    sample = {
        "output_text": text,
        "output_tools": calls,
        "choices": [{"message": {"role": "assistant", "content": text, "tool_calls": calls}}],
    }
    try:
        if len(text) <= MOST_JSON:
            sample["output_json"] = orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    return sample


def _at(value: Any, space: str, path: str) -> Any:
    for name, place in _STEP.findall(path):
        if name and isinstance(value, Mapping) and name in value:
            value = value[name]
        elif place and isinstance(value, list | tuple) and int(place) < len(value):
            value = value[int(place)]
        else:
            raise LackingError(space + path)
    if value is None:
        raise LackingError(space + path)
    return value


def _written(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value, default=dict).decode()
    except orjson.JSONEncodeError:
        raise LackingError("sample") from None
