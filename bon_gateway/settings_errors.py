"""Words for what is wrong with settings: pydantic's findings as one key and one reason."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bon_gateway.settings.tree import HEADER_PATTERN, URL_PATTERN

KeyPath = tuple[str | int, ...]

_USERINFO = re.compile(r"(?<=://).*(?=@)", re.DOTALL)
_QUERY = re.compile(r"(?<=[?#]).*", re.DOTALL)
_REASONS = {
    "missing": "is required",
    "tuple_type": "should be a list",
    "too_short": "should have at least one entry",
    "dict_type": "should be a mapping",
    "model_type": "should be a mapping",
    "model_attributes_type": "should be a mapping",
    "string_type": "should be text",
    "bool_parsing": "should be true or false",
    "bool_type": "should be true or false",
    "int_parsing": "should be a whole number",
    "int_type": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_parsing": "should be a number",
    "float_type": "should be a number",
    "finite_number": "should be a finite number",
}
_PATTERNS = {
    URL_PATTERN: "should be an address such as http://host:port",
    HEADER_PATTERN: "should be the name of an HTTP header",
}
_WITHOUT_VALUE = frozenset({"missing", "too_short"})


class SettingsError(Exception):
    """Settings that cannot be used: where they came from, which key, what is wrong with it."""

    def __init__(self, source: str, key: str, reason: str) -> None:
        super().__init__(f"{source}: {key}: {reason}" if key else f"{source}: {reason}")
        self.source = source
        self.key = key
        self.reason = reason


def dotted(path: KeyPath) -> str:
    return ".".join(str(part) for part in path)


def redact(text: str) -> str:
    """The text without the secrets that a URL in it may hold: user names, passwords, queries.

    A password may hold ``@`` and ``/``, so all up to the last ``@`` is taken for one.
    """
    if "://" not in text:
        return text
    return _QUERY.sub("***", _USERINFO.sub("***", text))


def redact_tree(value: Any) -> Any:
    """Plain settings, each text of them without a URL's secrets."""
    if isinstance(value, dict):
        return {key: redact_tree(below) for key, below in value.items()}
    if isinstance(value, list):
        return [redact_tree(below) for below in value]
    return redact(value) if isinstance(value, str) else value


def explain(
    error: ValidationError, tree: Mapping[str, Any], settings: type[BaseModel]
) -> tuple[KeyPath, str]:
    """The first thing to put right in ``tree``, which is not as ``settings`` has it: its key, as
    the file has it, and the reason.

    An unknown key comes first: it is often the reason why another one is missing.
    """
    found = error.errors(include_url=False)
    first = min(found, key=lambda details: details["type"] != "extra_forbidden")
    path = _without_tags(first["loc"], tree)
    if first["type"] == "value_error":
        return _of_validator(path, str(first["ctx"]["error"]))
    if first["type"] == "union_tag_invalid":
        known = first["ctx"]["expected_tags"].replace("'", "")
        return (*path, "type"), f"unknown type {first['ctx']['tag']!r}; known: {known}"
    if first["type"] == "union_tag_not_found":
        if not isinstance(first["input"], dict):
            return path, "should be a mapping"
        known = ", ".join(_types_at(first["loc"], settings))
        return (*path, "type"), f"is required; known: {known}"
    if first["type"] == "extra_forbidden":
        return path, _unknown_key(str(path[-1]), _keys_at(first["loc"][:-1], settings))
    return path, _reason(first)


def _reason(details: ErrorDetails) -> str:
    reason = _REASONS.get(details["type"]) or details["msg"].removeprefix("Input ")
    if details["type"] == "string_pattern_mismatch":
        pattern = details["ctx"]["pattern"]
        reason = _PATTERNS.get(pattern, f"should match {pattern}")
        if pattern == URL_PATTERN and "://" not in str(details["input"]):
            # What has no scheme may hide a password where nobody looks for one.
            return reason
    if details["type"] in _WITHOUT_VALUE:
        return reason
    return f"{reason}, not {redact(repr(details['input']))}"


def _of_validator(path: KeyPath, message: str) -> tuple[KeyPath, str]:
    """Validators of the whole tree begin their message with the key."""
    key, colon, reason = message.partition(": ")
    if path or not colon:
        return path, message
    return tuple(key.split(".")), reason


def _unknown_key(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        return f"unknown key; did you mean {near[0]!r}?"
    return f"unknown key; known: {', '.join(known)}"


def _without_tags(loc: KeyPath, tree: Any) -> KeyPath:
    """pydantic puts a union's tag into the path; the file has no such key."""
    path: list[str | int] = []
    node, tag_passed = tree, False
    for part in loc:
        if isinstance(node, dict) and node.get("type") == part and not tag_passed:
            tag_passed = True
            continue
        path.append(part)
        inside = isinstance(node, dict) and part in node
        node, tag_passed = (node[part] if inside else None), False
    return tuple(path)


def _keys_at(loc: KeyPath, settings: type[BaseModel]) -> list[str]:
    """The keys of the section at a path that has pydantic's union tags in it."""
    kind = _kind_at(loc, settings)
    return sorted(kind.model_fields) if _is_section(kind) else []


def _types_at(loc: KeyPath, settings: type[BaseModel]) -> list[str]:
    """The types that the union at such a path chooses from."""
    return [_tag(member) for member in get_args(_kind_at(loc, settings))]


def _kind_at(loc: KeyPath, settings: type[BaseModel]) -> Any:
    kind: Any = settings
    for part in loc:
        if _is_section(kind):
            kind = kind.model_fields[part].annotation
        elif get_origin(kind) in (Union, UnionType):
            kind = next(member for member in get_args(kind) if _tag(member) == part)
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        kind = _present(kind)
    return kind


def _present(kind: Any) -> Any:
    """Of what may be left out, what it is when it is there."""
    if get_origin(kind) in (Union, UnionType):
        members = [member for member in get_args(kind) if member is not type(None)]
        return members[0] if len(members) == 1 else kind
    return kind


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _tag(section: type[BaseModel]) -> str:
    annotation = section.model_fields["type"].annotation
    assert get_origin(annotation) is Literal
    return str(get_args(annotation)[0])
