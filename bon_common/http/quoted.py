"""What an error says of a request may quote it: a field's name, a model's. A client makes these as
long as it likes."""

from __future__ import annotations

MESSAGE, PARAM = 1000, 200
"""Characters of each that an answer holds at most."""


def quoted(text: str, most: int) -> str:
    """The text if it is short enough, otherwise its beginning and its length."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"
