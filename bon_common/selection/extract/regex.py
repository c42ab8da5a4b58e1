"""What a regular expression of the operator's finds."""

from __future__ import annotations

from bon_common.patterns import Pattern
from bon_common.selection.extract.bounds import searched
from bon_common.selection.extract.folded import folded


def matched(text: str, pattern: Pattern) -> str | None:
    """The first group of the first match, or the whole match if there is no group, as ``folded``.

    One search takes time linear in the text. All matches, to take the last of them, would take
    quadratic time. So a pattern that needs the last begins with ``(?s).*``. It searches the last
    ``MOST_SEARCHED`` characters.
    """
    # Half a surrogate pair has no UTF-8, in which the engine reads.
    readable = searched(text).encode("utf-8", "replace").decode()
    found = pattern.search(readable)
    if found is None:
        return None
    return folded(found.group(1 if pattern.groups else 0) or "")
