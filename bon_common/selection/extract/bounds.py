"""How much of a text is searched for its final answer."""

from __future__ import annotations

MOST_SEARCHED = 65_536
"""Characters. A longer text is searched in its last ones, where a final answer stands."""


def searched(text: str) -> str:
    return text[-MOST_SEARCHED:]
