"""What a text says besides itself: the same text with its JSON escapes read.

Tool arguments are JSON inside a string, often cut off and sometimes nested again, so that a name
may stand there as ``\\u0061nn``. Whoever reads the record reads the name.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

LEVELS = 4
"""Times that escapes are read in what reading them gave: JSON in JSON in JSON in JSON."""

_HEX = "[0-9a-fA-F]"
_ESCAPE = re.compile(
    rf'\\(?:u[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}|u{_HEX}{{4}}|["\\/bfnrt])'
)
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class View:
    """A reading of a text, and where each part of it stands there."""

    text: str
    read: array[int]
    """Positions in ``text`` of the characters that escapes stand for, ascending."""
    shift: array[int]
    """How much longer the text before the end of each of them is where it came from."""

    def back(self, position: int) -> int:
        """Where the gap before the character at ``position`` is in the text that was read."""
        before = bisect_right(self.read, position - 1)
        return position + (self.shift[before - 1] if before else 0)


def views(text: str) -> Iterator[tuple[str, tuple[View, ...]]]:
    """Each reading of ``text``, itself first, with the steps that lead back to it."""
    steps: tuple[View, ...] = ()
    yield text, steps
    for _ in range(LEVELS):
        view = _unescaped(text)
        if view is None:
            return
        text, steps = view.text, (view, *steps)
        yield text, steps


def _unescaped(text: str) -> View | None:
    if "\\" not in text:
        return None
    parts: list[str] = []
    read = array("Q")
    shift = array("Q")
    length = last = 0
    for match in _ESCAPE.finditer(text):
        begin, end = match.span()
        parts += (text[last:begin], _character(match[0]))
        length += begin - last + 1
        read.append(length - 1)
        shift.append(end - length)
        last = end
    if not read:
        return None
    return View("".join((*parts, text[last:])), read, shift)


def _character(escape: str) -> str:
    kind = escape[1]
    if kind != "u":
        return _SHORT.get(kind, kind)
    code = int(escape[2:6], 16)
    if len(escape) > 6:
        return chr(0x10000 + ((code - 0xD800) << 10) + int(escape[8:12], 16) - 0xDC00)
    # Half a pair is no character, and the engine of the patterns takes none.
    return "\N{REPLACEMENT CHARACTER}" if 0xD800 <= code <= 0xDFFF else chr(code)
