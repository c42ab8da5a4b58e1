"""API keys out of text, kept as SHA-256 digests. Both servers read the same two forms.

Keys are random and long, so a plain digest withstands guessing and costs a microsecond on each
request. A key itself is never kept, printed or logged.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping

KEY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LINE = re.compile(r"(?P<name>[^:\s]+)\s*:\s*sha256:(?P<digest>[0-9a-fA-F]{64})")


class KeysError(Exception):
    """Where in the text, empty for all of it, and what is wrong there. It holds no key."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}" if place else reason)
        self.place = place
        self.reason = reason


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


class KeyRing:
    """The known keys: name to SHA-256 digest. Empty means that everybody may call."""

    def __init__(self, digests: Mapping[str, bytes] | None = None) -> None:
        self._digests = dict(digests or {})

    def __repr__(self) -> str:
        return f"KeyRing({sorted(self._digests)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyRing) and self._digests == other._digests

    def __hash__(self) -> int:
        return hash(frozenset(self._digests))

    @property
    def open(self) -> bool:
        """Whether no key is needed."""
        return not self._digests

    def owner(self, authorization: str | None) -> str | None:
        """The name of the key in a ``Bearer`` header (as ASGI decodes it, latin-1), or None.

        The presented key is compared with every known one, so that the time taken tells nothing.
        """
        scheme, _, presented = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            given = hashlib.sha256(presented.strip().encode("latin-1")).digest()
        except UnicodeEncodeError:
            return None
        found: str | None = None
        for name, known in self._digests.items():
            if hmac.compare_digest(given, known):
                found = name
        return found


def add_lines(text: str, digests: dict[str, bytes]) -> None:
    """Lines ``name: sha256:<hex>``; ``#`` begins a comment. Raises KeysError."""
    before = len(digests)
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#", 1)[0].strip()
        if not line:
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            # The line may hold a key in the clear, so it is not shown.
            raise KeysError(f"line {number}", "expected 'name: sha256:<64 hex digits>'")
        _add(f"line {number}", match["name"], bytes.fromhex(match["digest"]), digests)
    if len(digests) == before:
        raise KeysError("", "holds no key")


def add_pairs(text: str, digests: dict[str, bytes]) -> None:
    """Pairs ``name:key``, separated by commas. Raises KeysError."""
    if not text.strip():
        raise KeysError("", "is set but holds no key")
    for number, pair in enumerate(text.split(","), start=1):
        name, colon, key = (part.strip() for part in pair.partition(":"))
        if not (name and colon and key):
            raise KeysError(f"pair {number}", "expected 'name:key', both not empty")
        if not key.isprintable():
            # Nobody could send it: two lines, most likely, where a comma should be.
            raise KeysError(f"pair {number}", "the key holds a line break or a control character")
        _add(f"pair {number}", name, digest(key), digests)


def _add(place: str, name: str, known: bytes, digests: dict[str, bytes]) -> None:
    if not KEY_NAME.fullmatch(name):
        # A name that is no name may be a key in the wrong place, so it is not shown.
        raise KeysError(place, "a key's name is up to 64 letters, digits, '.', '_' or '-'")
    if name in digests:
        raise KeysError(place, f"the name {name!r} is there twice")
    if known in digests.values():
        raise KeysError(place, f"{name!r} has the same key as another name")
    digests[name] = known
