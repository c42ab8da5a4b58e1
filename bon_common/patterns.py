"""Compiles the settings' regular expressions for RE2, whose time is linear in the text.

Clients and models write the texts to be searched. On Python's own engine one text could block the
log's writer, and with it the interpreter's lock, for hours. The price is RE2's syntax, which has no
look-around and no back-references.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import re2


class Match(Protocol):
    def span(self) -> tuple[int, int]: ...

    def group(self, number: int, /) -> str | None: ...


class Pattern(Protocol):
    @property
    def groups(self) -> int: ...

    def search(self, text: str) -> Match | None: ...

    def finditer(self, text: str) -> Iterator[Match]: ...


def compile_pattern(pattern: str) -> Pattern:
    """Raises ValueError, with the reason, for an expression that RE2 does not accept."""
    options = re2.Options()
    options.log_errors = False  # it would write to stderr past the log
    try:
        compiled: Pattern = re2.compile(pattern, options)
    except re2.error as error:
        (reason,) = error.args
        text = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise ValueError(text) from None
    return compiled
