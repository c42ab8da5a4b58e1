"""Vocabularies, and choices that every run makes alike, on every machine: by a hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TypeVar

ItemT = TypeVar("ItemT")


def listed(words: str) -> tuple[str, ...]:
    """The words of a text, as vocabularies are written down."""
    return tuple(words.split())


def position(*parts: object) -> float:
    """A number from 0 up to 1 that depends on the parts alone."""
    text = "\n".join(map(str, parts))
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def chosen(items: Iterable[ItemT], count: int, *salt: object) -> list[ItemT]:
    """`count` of the items, in a mixed order; all of them if there are no more."""
    return sorted(items, key=lambda item: position(*salt, item))[:count]


def one_of(items: Sequence[ItemT], *salt: object) -> ItemT:
    """One of the items."""
    return items[int(position(*salt) * len(items))]
