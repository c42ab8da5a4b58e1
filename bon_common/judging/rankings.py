"""How a judge writes an order of several answers, and how it is read."""

from __future__ import annotations

import re
from collections.abc import Sequence

_RANKING = re.compile(r"\[\[\s*([A-Z](?:\s*[>=]\s*[A-Z])*)\s*\]\]", re.IGNORECASE)


def read_ranking(reply: str, letters: Sequence[str]) -> dict[str, float] | None:
    """Read the last order like [[B > A = C]], the best first: for each letter a number, higher for
    better ones. None unless it names each of ``letters`` once."""
    found = _RANKING.findall(reply)
    if not found:
        return None
    places = [re.findall(r"\w", group) for group in found[-1].upper().split(">")]
    values = {letter: float(-place) for place, group in enumerate(places) for letter in group}
    named = [letter for group in places for letter in group]
    return values if sorted(named) == sorted(letters) else None
