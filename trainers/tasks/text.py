"""How checks read an answer: without its markup, as words, as sentences, as numbers."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from trainers.tasks.choosing import listed

ONES = listed(
    """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen
    """
)
TENS = listed("twenty thirty forty fifty sixty seventy eighty ninety")
VALUES = {word: number for number, word in enumerate(ONES)} | {
    word: 10 * number for number, word in enumerate(TENS, 2)
}

_MARKUP = re.compile(r"\\[a-zA-Z]+|[*_`$\\()\[\]{}\"\u201c\u201d\u2018\u2019\u00ab\u00bb~^]")
_LIKE_ASCII = {0x2212: "-", 0x2018: "'", 0x2019: "'"}
"""Minus, and single quotes."""
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_ONE_OF_TWO = re.compile(r"\b(larger|bigger|greater|smaller|first|last|next|right|correct) one\b")
_NUMBER_WORD = "|".join([*VALUES, "hundred"])
_WORDS = rf"\b(?:{_NUMBER_WORD})(?:(?:[ -]|[ -]and[ -])(?:{_NUMBER_WORD}))*\b"
_DIGITS = r"(?<![\w.])(?:(?<![\d)] )-(?=\d))?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"
_NUMBER = re.compile(rf"(?P<digits>{_DIGITS})|(?P<words>{_WORDS})")


@dataclass(frozen=True)
class NumberInText:
    """A number, and where it stands in the plain text."""

    value: Decimal
    start: int
    end: int


def plain(text: str) -> str:
    """Without emphasis, quotes, brackets and accents, in lower case."""
    text = unicodedata.normalize("NFKD", text.translate(_LIKE_ASCII))
    text = "".join(letter for letter in text if not unicodedata.combining(letter))
    return _MARKUP.sub(" ", text.casefold()).strip()


def words(text: str) -> list[str]:
    """Words and numbers of a plain text, in order; "it's" is "its"."""
    return re.findall(r"[^\W_]+", re.sub(r"(?<=\w)'(?=\w)", "", text))


def sentences(text: str) -> list[str]:
    """The sentences and lines, without the empty ones."""
    return [part.strip() for part in _SENTENCE_END.split(text) if part.strip()]


def numbers(text: str) -> list[NumberInText]:
    """Every number of a plain text, in digits or in English words."""
    text = _ONE_OF_TWO.sub(lambda found: " " * len(found[0]), text)
    return [
        NumberInText(
            Decimal(found["digits"].replace(",", "")).normalize()
            if found["digits"]
            else Decimal(_spoken(re.split(r"[ -]", found["words"]))),
            found.start(),
            found.end(),
        )
        for found in _NUMBER.finditer(text)
    ]


def _spoken(parts: Sequence[str]) -> int:
    """One hundred and twenty-one: 121. Ones in a row, as in a telephone number, are put in a row,
    so that no list of numbers passes for its sum."""
    total, last = 0, 1000
    for part in parts:
        if part == "hundred":
            total, last = max(total, 1) * 100, 100
        elif part in VALUES:
            value = VALUES[part]
            fits = last == 100 or (20 <= last < 100 and 0 < value < 10)
            total = total + value if fits or last == 1000 else total * 100 + value
            last = value
    return total


def phrase_at(where: Sequence[str], phrase: Sequence[str]) -> int | None:
    """Where the words of the phrase begin in a list of words."""
    width = len(phrase)
    for start in range(len(where) - width + 1):
        if list(where[start : start + width]) == list(phrase):
            return start
    return None
