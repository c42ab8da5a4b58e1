"""A text in a Markdown fence."""

from __future__ import annotations

import re

_FENCED = re.compile(
    r"(?P<fence>`{3,16}|~{3,16})"
    # The language has the first line, or all is in one line.
    r"(?:(?:[ \t]*+[\w+.-]++)?+[ \t]*+\r?\n|(?:[ \t]*+json\b)?+)"
    r"(?P<text>.*?)(?P=fence)",
    re.DOTALL | re.IGNORECASE,
)


def unfenced(text: str) -> str:
    """The text in the fence; the text itself, stripped, if it is not one fence and nothing else."""
    text = text.strip()
    found = _FENCED.fullmatch(text)
    return text if found is None else found["text"]
