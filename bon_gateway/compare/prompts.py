"""Reads the prompts of a comparison. Mistakes become a SettingsError."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from bon_common.settings.errors import SettingsError
from bon_common.settings.sources import read_text
from bon_gateway.compare.settings import PromptsSettings

Messages = Sequence[Mapping[str, Any]]


def read_prompts(settings: PromptsSettings, seed: int) -> list[Messages]:
    """Raises SettingsError, with the number of the line, for a line that is no prompt."""
    prompts = []
    for number, line in enumerate(read_text(settings.file).splitlines(), 1):
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
