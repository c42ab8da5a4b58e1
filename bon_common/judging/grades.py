"""Grades on a scale of letters, as a chat model gives them.

A model that writes one grade ties half of the answers with each other. The chances of all grades at
the place of that token tell more (arXiv:2607.05391): the grade is their expectation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase

MOST_LEVELS = len(ascii_uppercase)
_BRACKETS = re.compile(r"\[\[\s*([A-Z])\s*\]\]")
_NAMED = re.compile(r"\b(?:grade|score|verdict)\W{1,8}(?:is\W{1,8})?([A-Z])\b", re.IGNORECASE)
_AROUND = " \t\r\n*_`#\"'()[]{}<>.:,;!-"


def levels_of(count: int) -> str:
    """The letters of a scale, the worst first."""
    return ascii_uppercase[:count]


def expectation(chances: Mapping[str, float], levels: Sequence[str]) -> tuple[float, float]:
    """The expected grade from 0 (the first level) to 1 (the last), among the levels that have a
    chance, and the chance of them all together. With a chance of 0 the grade means nothing."""
    known = [max(chances.get(level, 0.0), 0.0) for level in levels]
    mass = sum(known)
    if mass <= 0 or len(levels) < 2:
        return 0.0, mass
    mean = sum(place * chance for place, chance in enumerate(known)) / mass
    return mean / (len(levels) - 1), mass


def grade_place(text: str, levels: str) -> int | None:
    """Where in ``text`` the letter of its grade stands; None if it gives none.

    A text of one letter is a grade, then the last one in double brackets, then the last that is
    called grade, score or verdict. Other letters are words of a sentence.
    """
    bare = text.strip(_AROUND)
    if len(bare) == 1 and bare in levels:
        return text.index(bare)
    for pattern in (_BRACKETS, _NAMED):
        places = [found.start(1) for found in pattern.finditer(text) if found[1] in levels]
        if places:
            return places[-1]
    return None
