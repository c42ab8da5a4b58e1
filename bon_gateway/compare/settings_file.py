"""Reads the settings of a comparison, and its prompts. What is wrong becomes a SettingsError."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bon_gateway.compare.settings import CompareSettings, PromptsSettings
from bon_gateway.settings_errors import SettingsError, dotted, explain
from bon_gateway.settings_loader import parse_value

Messages = Sequence[Mapping[str, Any]]


def load_settings(path: Path, overrides: Sequence[tuple[str, object]] = ()) -> CompareSettings:
    """``overrides`` are dotted keys with their values. Raises SettingsError for the first
    problem."""
    tree = _mapping(path)
    override(tree, overrides)
    return validate(tree, str(path))


def override(tree: dict[str, Any], overrides: Sequence[tuple[str, object]]) -> None:
    """Set dotted keys, making the maps on their way. Raises SettingsError if one is no map."""
    for key, value in overrides:
        _set(tree, key, value)


def validate(tree: Mapping[str, Any], source: str) -> CompareSettings:
    """Raises SettingsError."""
    try:
        return CompareSettings.model_validate(tree)
    except ValidationError as error:
        where, reason = explain(error, tree, CompareSettings)
        raise SettingsError(source, dotted(where), reason) from None


def read_prompts(settings: PromptsSettings, seed: int) -> list[Messages]:
    """Raises SettingsError, with the line, for what is no prompt."""
    prompts = []
    for number, line in enumerate(_text(settings.file).splitlines(), 1):
        if line.strip():
            prompts.append(_prompt(line, f"{settings.file}:{number}"))
    if not prompts:
        raise SettingsError(str(settings.file), "", "holds no prompt")
    if settings.limit is not None and settings.limit < len(prompts):
        prompts = random.Random(seed).sample(prompts, settings.limit)
    return prompts


def _prompt(line: str, place: str) -> Messages:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise SettingsError(place, "", f"not JSON: {error.msg}") from None
    if not isinstance(record, dict):
        raise SettingsError(place, "", "should be an object with prompt or messages")
    given = record.get("prompt", record.get("messages"))
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if (
        isinstance(given, list)
        and given
        and all(isinstance(m, dict) and isinstance(m.get("role"), str) for m in given)
    ):
        return given
    raise SettingsError(place, "prompt", "should be text, or a list of messages with roles")


def _mapping(path: Path) -> dict[str, Any]:
    tree = parse_value(str(path), "", _text(path))
    if not isinstance(tree, dict):
        raise SettingsError(str(path), "", "should be a mapping")
    return tree


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(str(path), "", f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(str(path), "", "cannot be read: it is not UTF-8 text") from None


def _set(tree: dict[str, Any], key: str, value: object) -> None:
    *parents, last = key.split(".")
    node = tree
    for part in parents:
        below = node.setdefault(part, {})
        if not isinstance(below, dict):
            raise SettingsError("--set", key, f"{part} is not a mapping")
        node = below
    node[last] = value
