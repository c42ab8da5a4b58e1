"""The expressions of the settings, on an engine whose time is linear in the text.

Clients and models write the texts that they run over: on Python's own engine one text can hold the
writer, and with it the interpreter's lock, for hours. The price is RE2's syntax, which has no
look-around and no back-references.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import re2


class Match(Protocol):
    def span(self) -> tuple[int, int]: ...


class Pattern(Protocol):
    def finditer(self, text: str) -> Iterator[Match]: ...


def compile_pattern(pattern: str) -> Pattern:
    """Raises ValueError, with the reason, for what is no expression or not one of this engine."""
    options = re2.Options()
    options.log_errors = False  # it would write to stderr past the log
    try:
        compiled: Pattern = re2.compile(pattern, options)
    except re2.error as error:
        (reason,) = error.args
        text = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise ValueError(text) from None
    return compiled
