r"""The content of the last ``\boxed{...}``, as models that were trained on mathematics write it."""

from __future__ import annotations

import re

from bon_common.selection.extract.bounds import searched
from bon_common.selection.extract.numbers import whole_number

_MARK = re.compile(r"(?P<box>\\boxed\s*\{)|\\.|(?P<open>\{)|(?P<close>\})", re.DOTALL)
_SPACE = re.compile(r"\s|\\[,!;: ]")


def boxed(text: str) -> str | None:
    r"""The content of the ``\boxed{...}`` that begins last, of those that are closed.

    Braces inside it may be nested; ``\{`` and ``\}`` are signs and count for nothing. White space
    and LaTeX's thin spaces are left out, and a content that is one number is read as in
    ``last_number``. It searches the last ``MOST_SEARCHED`` characters, once.
    """
    text = searched(text)
    first = text.find("\\boxed")
    if first < 0:
        return None
    begun: list[int | None] = []
    best, content = -1, ""
    for mark in _MARK.finditer(text, first):
        if mark["box"]:
            begun.append(mark.end())
        elif mark["open"]:
            begun.append(None)
        elif mark["close"] and begun:
            start = begun.pop()
            if start is not None and start > best:
                best, content = start, text[start : mark.start()]
    content = _SPACE.sub("", content).replace("{,}", ",")
    return (whole_number(content.strip("$")) or content) if content else None
