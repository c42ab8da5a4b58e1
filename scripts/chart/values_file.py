"""Reads values.yaml with its comments: of each key its path, default, text and ``@schema``.

A key's comment stands right above it. Lines after ``--`` are its text, ``@schema`` is followed by
JSON Schema in YAML's flow style. A comment without ``--`` above a section introduces the section.
Lists and maps of a default are written in flow style, so that each line is one key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z][\w.-]*):(?P<rest>.*)$")
SCHEMA = "@schema "
TEXT = "-- "


@dataclass(frozen=True)
class Value:
    path: tuple[str, ...]
    default: Any
    text: str
    schema: dict[str, Any]
    section: bool
    """Whether keys of it follow."""

    @property
    def name(self) -> str:
        return self.path[-1]

    @property
    def dotted(self) -> str:
        return ".".join(self.path)


def read(text: str) -> list[Value]:
    """All keys, in the file's order."""
    tree = yaml.safe_load(text)
    found = list(_keys(text.splitlines()))
    values = []
    for index, (path, comment) in enumerate(found):
        following = found[index + 1][0] if index + 1 < len(found) else ()
        section = following[: len(path)] == path
        words, schema = _comment(comment, section=section)
        values.append(Value(path, _at(tree, path), words, schema, section))
    return values


def _keys(lines: list[str]) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    """Path and comment of each key. Raises ValueError for a line that is none."""
    above: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in lines:
        stripped = line.strip()
        if not stripped:
            comment = []
            continue
        if stripped.startswith("#"):
            comment.append(stripped.removeprefix("#").strip())
            continue
        match = KEY.match(line)
        if match is None:
            raise ValueError(f"values.yaml: a key is expected: {line!r}")
        depth = len(match["indent"])
        above = [(indent, key) for indent, key in above if indent < depth]
        above.append((depth, match["key"]))
        yield tuple(key for _, key in above), comment
        comment = []


def _comment(lines: list[str], *, section: bool) -> tuple[str, dict[str, Any]]:
    """The text and the schema in a comment."""
    schema: dict[str, Any] = {}
    words: list[str] = []
    speaking = section
    for line in lines:
        if line.startswith(SCHEMA):
            schema = yaml.safe_load(line.removeprefix(SCHEMA))
            continue
        if line.startswith(TEXT):
            speaking, words = True, []
        if speaking:
            words.append(line.removeprefix(TEXT))
    return " ".join(words), schema


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree
