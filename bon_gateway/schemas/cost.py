"""Estimates how long checking an answer against a schema can take at most.

Checking against most schemas costs a few microseconds. But a client can drive the cost up at will:
with references that double at each level, recursion, or patterns with huge automata. The estimate
may be too high and is never too low, so a schema that it calls cheap may be checked on the event
loop.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_VALUES = 600
"""Most values in a schema that is weighed. Compiling costs some microseconds for each."""
DEEPEST = 64
"""Levels that are followed, including those through references."""
MOST_STEPS = 10_000.0
"""Most steps, about 100 ns each, of a cheap check."""
PATTERN_STEP = 0.015
"""Steps for one character of a pattern and one byte of text, in the engine's worst case."""

SPREADING = frozenset(
    (
        *("additionalItems", "additionalProperties", "contains", "items"),
        *("patternProperties", "propertyNames", "uniqueItems"),
    )
)
"""Keywords that are applied to each part of a value."""

UNWEIGHED = frozenset(
    (
        *("$dynamicRef", "$recursiveRef", "unevaluatedItems", "unevaluatedProperties"),
        *("$anchor", "$dynamicAnchor"),
    )
)
"""Keywords whose cost or target cannot be seen in the schema's own text."""

_REPEATED = re.compile(r"([)}]?)\{(\d+)(?:,(\d*))?\}")
_LARGE_CLASSES = re.compile(r"\\[pP]")
LARGE_CLASS = 100
"""Automaton states for a class of letters in any script, about."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Upper bound of the cost of one check, with references followed."""

    once: float
    """Values in the schema that look at one part of the answer."""
    spread: float
    """Values in the schema that look at each part of the answer."""
    patterns: float
    """Characters of patterns, with repetitions written out."""

    def cheap(self, text: str) -> bool:
        """Whether the answer ``text`` may be checked on the event loop."""
        return self.steps(text) <= MOST_STEPS

    def steps(self, text: str) -> float:
        parts = 1 + text.count(",") + text.count("{") + text.count("[")
        return self.once + self.spread * parts + self.patterns * PATTERN_STEP * _most_bytes(text)


class _NotCheapError(Exception):
    pass


def weigh(schema: Any) -> Cost | None:
    """The cost of ``schema``, or None if nothing bounds it well enough."""
    if not _is_small(schema):
        return None
    try:
        cost = _Scales(schema).weigh(schema, 0, False)
    except _NotCheapError:
        return None
    return cost if cost.cheap("") else None


def _is_small(schema: Any) -> bool:
    left, waiting = MOST_VALUES, [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            left -= len(value)
            waiting.extend(value.values())
        elif isinstance(value, list):
            left -= len(value)
            waiting.extend(value)
        if left < 0:
            return False
    return True


class _Scales:
    """Adds up costs. Each reference's target is weighed once, however many references it has."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._targets: dict[tuple[str, bool], Cost | None] = {}
        """None while the target is being weighed: a reference to it is then recursive."""

    def weigh(self, value: Any, depth: int, spread: bool) -> Cost:
        if depth > DEEPEST:
            raise _NotCheapError
        if isinstance(value, Mapping):
            return self._object(value, depth, spread)
        if isinstance(value, list):
            parts = [self.weigh(item, depth + 1, spread) for item in value]
            return _sum(parts, spread)
        return _sum((), spread)

    def _object(self, value: Mapping[str, Any], depth: int, spread: bool) -> Cost:
        parts = []
        patterns = 0.0
        for keyword, part in value.items():
            if keyword in UNWEIGHED or (keyword in ("$id", "id") and self._moves(value, part)):
                raise _NotCheapError
            if keyword == "$ref" and isinstance(part, str):
                parts.append(self._target(part, depth, spread))
                continue
            if keyword == "pattern" and isinstance(part, str):
                patterns += pattern_weight(part)
            elif keyword == "patternProperties" and isinstance(part, Mapping):
                patterns += sum(pattern_weight(pattern) for pattern in part)
            parts.append(self.weigh(part, depth + 1, spread or keyword in SPREADING))
        total = _sum(parts, spread)
        return Cost(total.once, total.spread, total.patterns + patterns)

    def _moves(self, value: Mapping[str, Any], part: Any) -> bool:
        """Whether references below have another base."""
        return isinstance(part, str) and value is not self._root

    def _target(self, reference: str, depth: int, spread: bool) -> Cost:
        key = (reference, spread)
        if key not in self._targets:
            self._targets[key] = None
            target = _follow(self._root, reference)
            self._targets[key] = self.weigh(target, depth + 1, spread)
        cost = self._targets[key]
        if cost is None:
            raise _NotCheapError
        return cost


def _sum(parts: Any, spread: bool) -> Cost:
    once, spreads, patterns = (0.0, 1.0, 0.0) if spread else (1.0, 0.0, 0.0)
    for part in parts:
        once += part.once
        spreads += part.spread
        patterns += part.patterns
    return Cost(once, spreads, patterns)


def _follow(root: Any, reference: str) -> Any:
    """The target of a JSON pointer into this schema."""
    if not reference.startswith("#") or "%" in reference:
        raise _NotCheapError
    target = root
    for step in reference[1:].split("/")[1:]:
        if not isinstance(target, Mapping):
            raise _NotCheapError
        name = step.replace("~1", "/").replace("~0", "~")
        if name not in target:
            raise _NotCheapError
        target = target[name]
    if reference != "#" and not reference.startswith("#/"):
        raise _NotCheapError
    return target


def pattern_weight(pattern: str) -> float:
    """Characters of ``pattern`` with its counted repetitions written out. Nested repetitions
    multiply; of repetitions side by side the largest counts for all."""
    largest, nested = 1.0, 1.0
    for repetition in _REPEATED.finditer(pattern):
        count = max(float(repetition[2]), float(repetition[3] or 0), 1.0)
        if repetition[1]:
            nested *= count
        else:
            largest = max(largest, count)
    classes = LARGE_CLASS if _LARGE_CLASSES.search(pattern) else 1
    return len(pattern) * largest * nested * classes


def _most_bytes(text: str) -> int:
    # Encoding the text to count its bytes would copy it, and almost all texts are ASCII.
    return len(text) if text.isascii() else 4 * len(text)
