"""Keys and values of prompts, kept while their candidates arrive.

The cache is bounded in bytes, where the least recently used entry goes first, and in time. A
conversation uses all leading tokens that it shares with an entry: what the network computes for a
token depends only on the tokens before it.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Lock

from torch import Tensor

from reward_server.network.sequence import Ids, shared_tokens

BLOCK = 16
"""Entries are found at multiples of this many tokens; one that shares fewer is not found."""


@dataclass(eq=False)
class Prefix:
    """What the network computed for a prompt."""

    ids: Ids
    layers: tuple[tuple[Tensor, Tensor], ...]
    """Each layer's keys and values, (1, key heads, tokens, width)."""
    used: float = 0.0
    """The cache's clock at its last use."""

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for layer in self.layers for tensor in layer)


class PrefixCache:
    """The `KeptPrompts` of a network on one device."""

    def __init__(
        self,
        capacity: int,
        life_s: float,
        *,
        longest: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Hold at most `capacity` bytes, each entry for `life_s` seconds after its last use, and
        no prompt of more than `longest` tokens."""
        self._capacity = capacity
        self._life_s = life_s
        self._longest = longest
        self._clock = clock
        self._entries: OrderedDict[Ids, Prefix] = OrderedDict()
        self._by_block: dict[int, Ids] = {}
        self._bytes = 0
        self._per_token = 0
        self._lock = Lock()

    def size(self) -> tuple[int, int]:
        return len(self._entries), self._bytes

    def keeps(self, tokens: int) -> bool:
        # What a token takes is known once the first prefix is there.
        fits = self._capacity > 0 and tokens * self._per_token <= self._capacity
        return BLOCK <= tokens <= self._longest and fits

    def known(self, prompt: Ids) -> int:
        found = self.find(prompt)
        return 0 if found is None else found[1]

    def find(self, ids: Ids) -> tuple[Prefix, int] | None:
        """The entry that shares the most leading tokens, and how many."""
        with self._lock:
            entry, tokens = self._find(ids) if self._entries else (None, 0)
            if entry is None:
                return None
            entry.used = self._clock()
            self._entries.move_to_end(entry.ids)
            return entry, tokens

    def add(self, prefix: Prefix) -> None:
        """Keep a prefix, unless it is larger than the cache; shorter beginnings of it go."""
        size = prefix.nbytes
        with self._lock:
            self._per_token = max(self._per_token, size // len(prefix.ids))
            if size > self._capacity or len(prefix.ids) < BLOCK:
                return
            covered, tokens = self._find(prefix.ids)
            if covered is not None and tokens == len(covered.ids):
                self._remove(covered.ids)
            while self._bytes + size > self._capacity:
                self._remove(next(iter(self._entries)))
            prefix.used = self._clock()
            self._entries[prefix.ids] = prefix
            self._bytes += size
            self._by_block.update(dict.fromkeys(_blocks(prefix.ids), prefix.ids))

    def expire(self) -> None:
        """Drop what was not used for too long."""
        with self._lock:
            limit = self._clock() - self._life_s
            for ids in [i for i, entry in self._entries.items() if entry.used <= limit]:
                self._remove(ids)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self._by_block.clear()
            self._bytes = 0

    def _find(self, ids: Ids) -> tuple[Prefix | None, int]:
        for block in reversed(list(_blocks(ids))):
            key = self._by_block.get(block)
            if key is not None:
                found = shared_tokens(key, ids)
                if found >= BLOCK:  # else two different texts have the same hash
                    return self._entries[key], found
        return None, 0

    def _remove(self, ids: Ids) -> None:
        self._bytes -= self._entries.pop(ids).nbytes
        for block in _blocks(ids):
            if self._by_block.get(block) == ids:
                del self._by_block[block]


def _blocks(ids: Ids) -> Iterator[int]:
    """A hash of each beginning that ends at a whole number of blocks."""
    chain = 0
    for end in range(BLOCK, len(ids) + 1, BLOCK):
        chain = hash((chain, ids[end - BLOCK : end]))
        yield chain
