"""A text in a Markdown fence."""

from __future__ import annotations

import re

_FENCED = re.compile(
    r"(?P<fence>`{3,16}|~{3,16})"
    r"(?:(?:[ \t]*[\w+.-]+)?[ \t]*\r?\n"  # the language has the first line
    r"|[ \t]*(?:json\b)?)"  # or all is in one line
    r"(?P<text>.*?)(?P=fence)",
    re.DOTALL | re.IGNORECASE,
)


def unfenced(text: str) -> str:
    """The text in the fence; the text itself, stripped, if it is not one fence and nothing else."""
    text = text.strip()
    found = _FENCED.fullmatch(text)
    return text if found is None else found["text"]
