"""Keeps patterns and whole fields out of the candidate log."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from bon_common.patterns import compile_pattern
from bon_gateway.recording.views import views

REPLACEMENT = "[redacted]"
LIMIT_S = 5.0
"""Seconds that one value may take. The engine's time is linear for one match but not for all
matches: ``a[^b]*b|a`` reads a text of a's to its end again for each of them."""


class RedactionTimeoutError(Exception):
    """Not all matches in a value could be found in time, so it must not be written."""


class Redaction:
    """Copies JSON values without what the settings name. The originals stay as they are."""

    def __init__(
        self, patterns: Sequence[str], fields: Sequence[str], *, limit_s: float = LIMIT_S
    ) -> None:
        """Raises ValueError for a pattern that the engine does not take."""
        self._patterns = [compile_pattern(pattern) for pattern in patterns]
        self._fields = frozenset(tuple(field.split(".")) for field in fields)
        self._limit_s = limit_s
        self._until = 0.0

    def apply(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """``value`` without the fields, and with the patterns replaced in the rest: in texts, both
        as they are and with their JSON escapes read, in numbers and in keys.

        A field is a path of keys from ``value`` on; the members of a list have the path of the
        list. Raises RedactionTimeoutError, and RecursionError for values that are nested too
        deeply.
        """
        if not self._patterns and not self._fields:
            return value
        self._begin()
        return self._object(value, ())

    def scalar(self, value: Any) -> Any:
        """A text or a number with the patterns replaced. Raises RedactionTimeoutError."""
        self._begin()
        return self._scalar(value)

    def _begin(self) -> None:
        self._until = time.monotonic() + self._limit_s

    def _clean(self, value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, Mapping):
            return self._object(value, path)
        if isinstance(value, (list, tuple)):
            return [self._clean(item, path) for item in value]
        return self._scalar(value)

    def _object(self, value: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        return {
            self._text(key): self._clean(item, (*path, key))
            for key, item in value.items()
            if (*path, key) not in self._fields
        }

    def _scalar(self, value: Any) -> Any:
        if not self._patterns or value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, (int, float)):
            # A card number may stand there without quotes.
            written = orjson.dumps(value).decode()
            clean = self._text(written)
            return value if clean == written else clean
        return value

    def _text(self, text: str) -> str:
        spans = self._spans(text) if self._patterns else []
        if not spans:
            return text
        parts: list[str] = []
        last = 0
        for start, end in sorted(spans):
            if start < last:  # another pattern has already covered its beginning
                last = max(last, end)
                continue
            parts += (text[last:start], REPLACEMENT)
            last = end
        return "".join((*parts, text[last:]))

    def _spans(self, text: str) -> list[tuple[int, int]]:
        spans: list[tuple[int, int]] = []
        for reading, steps in views(text):
            for pattern in self._patterns:
                for match in pattern.finditer(reading):
                    if time.monotonic() > self._until:
                        raise RedactionTimeoutError
                    start, end = match.span()
                    if start == end:
                        continue
                    for step in steps:
                        start, end = step.back(start), step.back(end)
                    spans.append((start, end))
        return spans
