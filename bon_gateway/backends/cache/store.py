"""A bounded store: the least recently used entry goes first.

Its keys are digests, so it holds no text of a client as a key.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import orjson

Value = TypeVar("Value")
Clock = Callable[[], float]

OVERHEAD = 200
"""Rough size of an entry without its value, in bytes."""


class BoundedStore(Generic[Value]):
    """Holds at most ``entries`` values of together at most ``size`` bytes, each for at most
    ``life_s`` seconds. Calls ``dropped`` for each value that goes before its time."""

    def __init__(
        self,
        entries: int,
        size: float = float("inf"),
        life_s: float = float("inf"),
        *,
        dropped: Callable[[], None] = lambda: None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._entries = entries
        self._size = size
        self._life_s = life_s
        self._dropped = dropped
        self._clock = clock
        self._held: OrderedDict[bytes, tuple[Value, int, float]] = OrderedDict()
        self.bytes = 0
        """Size of all entries, with the overhead."""

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: bytes) -> Value | None:
        """The value; None if it is missing or too old."""
        held = self._held.get(key)
        if held is None:
            return None
        value, _, until = held
        if self._clock() >= until:
            self._remove(key)
            return None
        self._held.move_to_end(key)
        return value

    def put(self, key: bytes, value: Value, size: int = 0) -> None:
        """Hold a value, unless it is larger than the whole store."""
        size += OVERHEAD
        self._remove(key)
        if size > self._size:
            self._dropped()
            return
        self._held[key] = (value, size, self._clock() + self._life_s)
        self.bytes += size
        while len(self._held) > self._entries or self.bytes > self._size:
            self._remove(next(iter(self._held)))
            self._dropped()

    def _remove(self, key: bytes) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            self.bytes -= held[1]


def digest_of(*parts: Any) -> bytes:
    """A BLAKE2 digest of JSON values and other digests, so different values get different digests.
    The order of an object's members counts."""
    digest = hashlib.blake2b(digest_size=32)
    for part in parts:
        data = part if isinstance(part, bytes) else orjson.dumps(part)
        # The length goes in too, so that no two lists of parts give the same bytes.
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()
