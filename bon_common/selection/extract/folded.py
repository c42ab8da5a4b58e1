"""A whole text as the final answer."""

from __future__ import annotations


def folded(text: str) -> str | None:
    """The text in one case, with one space for any white space, and none around it."""
    return " ".join(text.split()).casefold() or None
