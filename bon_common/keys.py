"""API keys of both servers, from a file and the environment, kept as SHA-256 digests.

Keys are random and long, so a plain digest withstands guessing and costs a request a microsecond.
The key itself is never kept, printed or logged.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from pathlib import Path

from bon_common.settings.errors import SettingsError
from bon_common.settings.sources import read_text

KEY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LINE = re.compile(r"(?P<name>[^:\s]+)\s*:\s*sha256:(?P<digest>[0-9a-fA-F]{64})")


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


class KeyRing:
    """The known keys: name to SHA-256 digest. If it is empty, everybody may call."""

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

        The presented key is compared with every known one, so that the time reveals nothing.
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


def load_keyring(
    file: str | None, setting: str, variable: str, environ: Mapping[str, str]
) -> KeyRing:
    """The keys of a file, which ``setting`` names, and of an environment variable together.

    Raises SettingsError for a source that cannot be read or holds no key, a bad line or pair, and
    for a name or a key that is there twice. A source without a key is an error because without
    keys everybody may call, and an operator who names a source does not want that.
    """
    digests: dict[str, bytes] = {}
    if file is not None:
        _add_lines(read_text(Path(file), setting), file, setting, digests)
    if variable in environ:
        _add_pairs(environ[variable], f"environment {variable}", digests)
    return KeyRing(digests)


def _add_lines(text: str, file: str, setting: str, digests: dict[str, bytes]) -> None:
    """Lines ``name: sha256:<hex>``; ``#`` begins a comment."""
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.split("#", 1)[0].strip()
        if not line:
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            # The line may hold a key in the clear, so it is not shown.
            raise SettingsError(file, f"line {number}", "expected 'name: sha256:<64 hex digits>'")
        _add(file, f"line {number}", match["name"], bytes.fromhex(match["digest"]), digests)
    if not digests:
        raise SettingsError(file, setting, "holds no key")


def _add_pairs(text: str, source: str, digests: dict[str, bytes]) -> None:
    """Pairs ``name:key``, separated by commas."""
    if not text.strip():
        raise SettingsError(source, "", "is set but holds no key")
    for number, pair in enumerate(text.split(","), start=1):
        place = f"pair {number}"
        name, colon, key = (part.strip() for part in pair.partition(":"))
        if not (name and colon and key):
            raise SettingsError(source, place, "expected 'name:key', both not empty")
        if not key.isprintable():
            # No client could send it. Most likely a line break stands where a comma should.
            raise SettingsError(source, place, "the key holds a line break or a control character")
        _add(source, place, name, digest(key), digests)


def _add(source: str, place: str, name: str, known: bytes, digests: dict[str, bytes]) -> None:
    if not KEY_NAME.fullmatch(name):
        # A bad name may be a key in the wrong place, so it is not shown.
        reason = "a key's name is up to 64 letters, digits, '.', '_' or '-'"
        raise SettingsError(source, place, reason)
    if name in digests:
        raise SettingsError(source, place, f"the name {name!r} is there twice")
    if known in digests.values():
        raise SettingsError(source, place, f"{name!r} has the same key as another name")
    digests[name] = known
