"""A record that notes what a reader asked for, so that the rest can be named and counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainers.base.data import Message
from trainers.base.lines import printable
from trainers.base.turns import tidied


class Seen(Mapping[str, Any]):
    """A record, or an object inside one. A key counts as read once its value was taken; asking
    whether it is there does not count."""

    def __init__(self, values: Mapping[str, Any], inside: str = "") -> None:
        self._values = values
        self._inside = inside
        self._read: set[str] = set()
        self._parts: list[Seen] = []
        self._lost: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        self._read.add(key)
        return value

    def peek(self, key: str) -> Any:
        """The value, None without one; it does not count as read."""
        return self._values.get(key)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def part(self, values: Mapping[str, Any], inside: str) -> Seen:
        """An object inside this record, whose keys are counted under `inside`."""
        part = Seen(values, f"{inside}.")
        self._parts.append(part)
        return part

    def note_messages(self, key: str, raw: Any, kept: Sequence[Message]) -> None:
        """Note the keys of raw messages that the messages made of them no longer have."""
        originals = raw if isinstance(raw, list) else [raw]
        for given, message in zip(originals, kept, strict=False):
            original = tidied(given)
            if isinstance(original, Mapping):
                self._lost.update(
                    f"{key}.{name}"
                    for name, value in original.items()
                    if name not in message and not _says_nothing(value)
                )

    def unread(self) -> set[str]:
        """Names of the fields that hold something and were not read, dotted where they are inside
        another; each stands once, however many entries of a list have it."""
        own = {
            key
            for key, value in self._values.items()
            if key not in self._read and not _says_nothing(value)
        }
        names = {f"{self._inside}{printable(str(name))}" for name in own | self._lost}
        return names.union(*(part.unread() for part in self._parts))


def _says_nothing(value: Any) -> bool:
    return value is None or value == "" or value == [] or value == {}
