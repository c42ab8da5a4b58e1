"""The error of wrong settings: pydantic's findings as one key and one reason in plain words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from types import MappingProxyType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

KeyPath = tuple[str | int, ...]

_USERINFO = re.compile(r"(?<=://).*(?=@)", re.DOTALL)
_QUERY = re.compile(r"(?<=[?#]).*", re.DOTALL)
_REASONS = {
    "missing": "is required",
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "dict_type": "should be a mapping",
    "mapping_type": "should be a mapping",
    "model_type": "should be a mapping",
    "model_attributes_type": "should be a mapping",
    "string_type": "should be text",
    "path_type": "should be text",
    "bool_parsing": "should be true or false",
    "bool_type": "should be true or false",
    "int_parsing": "should be a whole number",
    "int_type": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_parsing": "should be a number",
    "float_type": "should be a number",
    "finite_number": "should be a finite number",
}
_WITHOUT_VALUE = frozenset({"missing", "too_short", "too_long"})


class SettingsError(Exception):
    """Settings that cannot be used: where they came from, which key, what is wrong with it."""

    def __init__(self, source: str, key: str, reason: str) -> None:
        super().__init__(f"{source}: {key}: {reason}" if key else f"{source}: {reason}")
        self.source = source
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        """One line, even if a library put several into the reason."""
        return " ".join(super().__str__().split())


def dotted(path: KeyPath) -> str:
    """A part with spaces is in quotes, so that one sees where it ends."""
    return ".".join(f"'{part}'" if " " in str(part) else str(part) for part in path)


def redact(text: str) -> str:
    """The text without the secrets that a URL in it may hold: user names, passwords, queries.

    A password may hold ``@`` and ``/``, so everything up to the last ``@`` counts as one.
    """
    if "://" not in text:
        return text
    return _QUERY.sub("***", _USERINFO.sub("***", text))


def redact_tree(value: Any) -> Any:
    """Plain settings, with every text redacted."""
    if isinstance(value, dict):
        return {key: redact_tree(below) for key, below in value.items()}
    if isinstance(value, list):
        return [redact_tree(below) for below in value]
    return redact(value) if isinstance(value, str) else value


def explain(
    error: ValidationError,
    settings: type[BaseModel],
    patterns: Mapping[str, str] = MappingProxyType({}),
) -> tuple[KeyPath, str]:
    """The mistake to correct first in ``settings``: its key, as the file has it, and the reason.
    ``patterns`` has words for the settings' regular expressions.

    An unknown key comes first, as it is often why another one is missing.
    """
    found = error.errors(include_url=False)
    first = min(found, key=lambda details: details["type"] != "extra_forbidden")
    path, kind = _place(first["loc"], settings)
    if first["type"] == "value_error":
        return _of_validator(path, str(first["ctx"]["error"]))
    if first["type"] == "union_tag_invalid":
        known = first["ctx"]["expected_tags"].replace("'", "")
        tag = _tag_key(kind)
        return (*path, tag), f"unknown {tag} {first['ctx']['tag']!r}; known: {known}"
    if first["type"] == "union_tag_not_found":
        if not isinstance(first["input"], dict):
            return path, "should be a mapping"
        return (*path, _tag_key(kind)), f"is required; known: {', '.join(_members(kind))}"
    if first["type"] == "extra_forbidden":
        _, section = _place(first["loc"][:-1], settings)
        return path, _unknown_key(str(path[-1]), sorted(section.model_fields))
    return path, _reason(first, patterns)


def _reason(details: ErrorDetails, patterns: Mapping[str, str]) -> str:
    reason = _REASONS.get(details["type"]) or details["msg"].removeprefix("Input ")
    if details["type"] == "too_short":
        least = details["ctx"]["min_length"]
        reason = f"should have at least {'one entry' if least == 1 else f'{least} entries'}"
    if details["type"] == "too_long":
        reason = f"should have at most {details['ctx']['max_length']} entries"
    if details["type"] == "string_pattern_mismatch":
        pattern = details["ctx"]["pattern"]
        reason = patterns.get(pattern, f"should match {pattern}")
        if "://" in pattern and "://" not in str(details["input"]):
            # An address without its scheme may hold a password where ``redact`` does not look.
            return reason
    if details["type"] in _WITHOUT_VALUE:
        return reason
    return f"{reason}, not {redact(repr(details['input']))}"


def _of_validator(path: KeyPath, message: str) -> tuple[KeyPath, str]:
    """Validators of the whole tree name the key at the beginning of their message."""
    key, colon, reason = message.partition(": ")
    if path or not colon:
        return path, message
    return tuple(key.split(".")), reason


def _unknown_key(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        return f"unknown key; did you mean {near[0]!r}?"
    return f"unknown key; known: {', '.join(known)}"


def _place(loc: KeyPath, settings: type[BaseModel]) -> tuple[KeyPath, Any]:
    """The path in the file for pydantic's ``loc``, and the type expected there, None if unknown.
    pydantic's path also names the member of a union that it tried, which the file does not."""
    path: list[str | int] = []
    kind: Any = settings
    for part in loc:
        if get_origin(kind) in (Union, UnionType):
            kind = _bare(_members(kind).get(str(part)))
            continue
        path.append(part)
        kind = _bare(_below(kind, part))
    return tuple(path), kind


def _below(kind: Any, part: str | int) -> Any:
    if _is_section(kind):
        field = kind.model_fields.get(part)
        return None if field is None else field.annotation
    arguments = get_args(kind)
    if get_origin(kind) in (dict, Mapping):
        return arguments[1]
    return arguments[0] if isinstance(part, int) and arguments else None


def _bare(kind: Any) -> Any:
    """A type without ``Annotated``, and without ``| None``."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        members = [member for member in get_args(kind) if member is not type(None)]
        if len(members) == 1:
            return _bare(members[0])
    return kind


def _members(union: Any) -> dict[str, Any]:
    """The sections of a union by their tags."""
    key = _tag_key(union)
    return {tag: section for section in _sections(union) for tag in _tags(section, key)}


def _tag_key(union: Any) -> str:
    """The key that distinguishes a union's sections: no two allow the same text there."""
    sections = _sections(union)
    for key in sections[0].model_fields if sections else ():
        tags = [_tags(section, key) for section in sections]
        if all(tags) and len({tag for some in tags for tag in some}) == sum(map(len, tags)):
            return key
    return ""


def _tags(section: type[BaseModel], key: str) -> tuple[Any, ...]:
    field = section.model_fields.get(key)
    if field is None or get_origin(field.annotation) is not Literal:
        return ()
    return get_args(field.annotation)


def _sections(union: Any) -> list[type[BaseModel]]:
    members = [_bare(member) for member in get_args(union)]
    return [member for member in members if _is_section(member)]


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
