"""Where in the settings an error of pydantic belongs.

Pydantic's path to a mistake also names the members of unions that it tried. The settings file does
not have those names, and each member that was tried has errors of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

KeyPath = tuple[str | int, ...]

_WRAPPED = re.compile(r"function-\w+\[[^\[]*\(\), (.*)\]", re.DOTALL)
"""How pydantic names a member with a validator: ``function-after[check(), str]``."""
_KEY = "[key]"
"""Ends pydantic's path to a wrong key of a mapping."""


def place_of(loc: KeyPath, settings: type[BaseModel]) -> tuple[KeyPath, Any]:
    """The path in the file for pydantic's ``loc``, and the type expected there, None if unknown."""
    path: list[str | int] = []
    kind: Any = settings
    for part in loc:
        if _is_union(kind):
            kind = _member(kind, str(part))
        elif part != _KEY:
            path.append(part)
            kind = _bare(_below(kind, part))
    return tuple(path), kind


def fitting(found: Sequence[ErrorDetails], settings: type[BaseModel]) -> list[ErrorDetails]:
    """The errors without those of members of unions that expect another kind of value, such as a
    text where the file has a mapping. They stay if the value fits no member."""
    other_kinds = [_is_of_another_kind(details, settings) for details in found]
    fit = {
        details["loc"][:length]
        for details, other in zip(found, other_kinds, strict=True)
        for length in range(len(details["loc"]) + (not other) - 1)
    }
    return [
        details
        for details, other in zip(found, other_kinds, strict=True)
        if not other or details["loc"][:-1] not in fit
    ]


def alike(
    first: ErrorDetails, found: Sequence[ErrorDetails], settings: type[BaseModel]
) -> list[ErrorDetails]:
    """The errors of a value that fits no member of its union, one for each member; else only the
    ``first``."""
    if not _is_of_another_kind(first, settings):
        return [first]
    return [details for details in found if details["loc"][:-1] == first["loc"][:-1]]


def members(union: Any) -> dict[str, Any]:
    """The sections of a union by their tags."""
    key = tag_key(union)
    return {tag: section for section in _sections(union) for tag in _tags(section, key)}


def tag_key(union: Any) -> str:
    """The key that distinguishes a union's sections: no two allow the same text there."""
    sections = _sections(union)
    for key in sections[0].model_fields if sections else ():
        tags = [_tags(section, key) for section in sections]
        if all(tags) and len({tag for some in tags for tag in some}) == sum(map(len, tags)):
            return key
    return ""


def keys_of(kind: Any) -> list[str]:
    """The keys of a section; none for any other type."""
    return sorted(kind.model_fields) if _is_section(kind) else []


def _is_of_another_kind(details: ErrorDetails, settings: type[BaseModel]) -> bool:
    """Whether a member of a union says that it expects another kind of value."""
    kind = details["type"]
    if not kind.endswith("_type") and not (
        kind == "literal_error" and isinstance(details["input"], dict | list)
    ):
        return False
    return bool(details["loc"]) and _is_union(place_of(details["loc"][:-1], settings)[1])


def _member(union: Any, label: str) -> Any:
    """The member of a union that pydantic calls ``label``; None if it cannot be told."""
    tagged = members(union).get(label)
    if tagged is not None:
        return tagged
    while wrapped := _WRAPPED.fullmatch(label):
        label = wrapped[1]
    name = label.partition("[")[0]
    for member in map(_bare, get_args(union)):
        origin = get_origin(member)
        if getattr(origin or member, "__name__", None) == name:
            return member
        if name == "tagged-union" and _is_union(member):
            return member
    return None


def _below(kind: Any, part: str | int) -> Any:
    if _is_section(kind):
        field = kind.model_fields.get(part)
        return None if field is None else field.annotation
    arguments = get_args(kind)
    if get_origin(kind) in (dict, Mapping):
        return arguments[1]
    if not isinstance(part, int) or not arguments:
        return None
    different = get_origin(kind) is tuple and Ellipsis not in arguments
    return arguments[part if different and part < len(arguments) else 0]


def _bare(kind: Any) -> Any:
    """A type without ``Annotated``, and without ``| None``."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        some = [member for member in get_args(kind) if member is not NoneType]
        if len(some) == 1:
            return _bare(some[0])
    return kind


def _is_union(kind: Any) -> bool:
    return get_origin(kind) in (Union, UnionType)


def _tags(section: type[BaseModel], key: str) -> tuple[Any, ...]:
    field = section.model_fields.get(key)
    if field is None or get_origin(field.annotation) is not Literal:
        return ()
    return get_args(field.annotation)


def _sections(union: Any) -> list[type[BaseModel]]:
    some = [_bare(member) for member in get_args(union)]
    return [member for member in some if _is_section(member)]


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
