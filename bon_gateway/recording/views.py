"""Further readings of a text: the same text with its JSON escapes read.

Tool arguments are JSON inside a string, often cut off and sometimes nested again. So a name may
stand there as ``\\u0061nn``, and a reader of the record would still read the name.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

LEVELS = 4
"""How often escapes are read again in the result: JSON in JSON in JSON in JSON."""

_HEX = "[0-9a-fA-F]"
_ESCAPE = re.compile(
    rf'\\(?:u[dD][89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}|u{_HEX}{{4}}|["\\/bfnrt])'
)
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class View:
    """A reading of a text, and where each part of it stands in that text."""

    text: str
    read: array[int]
    """Positions in ``text`` of characters that were escapes, ascending."""
    shift: array[int]
    """For each of them, how many more characters the original text has up to its end."""

    def back(self, position: int) -> int:
        """Where the gap before the character at ``position`` is in the text that was read."""
        before = bisect_right(self.read, position - 1)
        return position + (self.shift[before - 1] if before else 0)


def views(text: str) -> Iterator[tuple[str, tuple[View, ...]]]:
    """Each reading of ``text``, first the text itself, with the steps that lead back to it."""
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
    # Half a surrogate pair is no character, and the pattern engine does not take it.
    return "\N{REPLACEMENT CHARACTER}" if 0xD800 <= code <= 0xDFFF else chr(code)
