"""Grades on a scale of letters, as a chat model gives them.

If a model writes one grade, half of the answers tie. The probabilities of all grades at that token
tell more (arXiv:2607.05391), so the grade here is their expectation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase

LETTERS = ascii_uppercase.replace("I", "")
"""A judge that refuses begins with "I", so that letter stands for nothing."""
MOST_LEVELS = len(LETTERS)
_BRACKETS = re.compile(r"\[\[\s*([A-Z])\s*\]\]")
_NAMED = re.compile(r"\b(?:grade|score|verdict)\W{1,8}(?:is\W{1,8})?([A-Z])\b", re.IGNORECASE)
_AROUND = " \t\r\n*_`#\"'()[]{}<>.:,;!-"


def levels_of(count: int) -> str:
    """The letters of a scale, the worst first."""
    return LETTERS[:count]


def expectation(chances: Mapping[str, float], levels: Sequence[str]) -> tuple[float, float]:
    """The expected grade from 0 (the first level) to 1 (the last) over the levels with a
    probability, and the sum of these probabilities. If that sum is 0, the grade means nothing."""
    known = [max(chances.get(level, 0.0), 0.0) for level in levels]
    mass = sum(known)
    if mass <= 0 or len(levels) < 2:
        return 0.0, mass
    mean = sum(place * chance for place, chance in enumerate(known)) / mass
    return mean / (len(levels) - 1), mass


def grade_place(text: str, levels: str) -> int | None:
    """Index of the grade's letter in ``text``; None if the text gives no grade.

    Three forms count, in this order: a text of one letter; the last letter in double brackets; the
    last letter after the word grade, score or verdict. Any other letter is a word of a sentence.
    """
    bare = text.strip(_AROUND)
    if len(bare) == 1 and bare in levels:
        return text.index(bare)
    for pattern in (_BRACKETS, _NAMED):
        places = [found.start(1) for found in pattern.finditer(text) if found[1] in levels]
        if places:
            return places[-1]
    return None
