"""The error of wrong settings: pydantic's findings as one key and one reason in plain words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bon_common.settings.places import KeyPath, alike, fitting, keys_of, members, place_of, tag_key

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

    A wrong ``type`` comes first, as it decides which keys there are; then an unknown key, as it is
    often why another one is missing.
    """
    found = fitting(error.errors(include_url=False), settings)
    first = min(found, key=_rank)
    path, kind = place_of(first["loc"], settings)
    if first["type"] == "value_error":
        return _of_validator(path, redact(str(first["ctx"]["error"])))
    if first["type"] == "union_tag_invalid":
        known = first["ctx"]["expected_tags"].replace("'", "")
        tag = tag_key(kind)
        return (*path, tag), f"unknown {tag} {redact(repr(first['ctx']['tag']))}; known: {known}"
    if first["type"] == "union_tag_not_found":
        if not isinstance(first["input"], dict):
            return path, "should be a mapping"
        return (*path, tag_key(kind)), f"is required; known: {', '.join(members(kind))}"
    if first["type"] == "extra_forbidden":
        _, section = place_of(first["loc"][:-1], settings)
        return path, _unknown_key(str(path[-1]), keys_of(section))
    same = alike(first, found, settings)
    if len(same) > 1:
        return path, _of_no_kind(same)
    return path, _reason(first, patterns)


def _rank(details: ErrorDetails) -> int:
    if details["type"] == "literal_error" and details["loc"][-1] == "type":
        return 0
    return 1 if details["type"] == "extra_forbidden" else 2


def _of_no_kind(same: Sequence[ErrorDetails]) -> str:
    """The reason if a value fits no member of its union."""
    reasons = dict.fromkeys(map(_expectation, same))
    wanted = " or ".join(reason.removeprefix("should be ") for reason in reasons)
    return f"should be {wanted}, not {redact(repr(same[0]['input']))}"


def _expectation(details: ErrorDetails) -> str:
    return _REASONS.get(details["type"]) or details["msg"].removeprefix("Input ")


def _reason(details: ErrorDetails, patterns: Mapping[str, str]) -> str:
    reason = _expectation(details)
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
    return f"unknown key; known: {', '.join(known)}" if known else "unknown key"
