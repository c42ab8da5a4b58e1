"""GSM8K (Cobbe et al. 2021, arXiv:2110.14168), read from a file: `question`, and an `answer` that
ends with `#### N`. The data do not ship.

An answer may reason at any length. Its last line that states a result counts: behind `####`, `A:`
or "the answer is", else the last number of all.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path

from trainers.base.data import Record, read_placed
from trainers.base.errors import DataError
from trainers.tasks.text import NumberInText, numbers, plain

_TRUTH = re.compile(r"####\s*([^\n]+)")
_STATED = re.compile(r"(?:####|^a:|\banswer(?: is|:))(?: about| [£€]|\s)*$", re.MULTILINE)
_OFFER = re.compile(r"\s*(?:,|/|,? or)\s*")


class GsmQuestion(Record):
    """A line of the published file."""

    question: str
    answer: str


def questions(path: Path) -> dict[str, Decimal]:
    """The result of each question; DataError naming a line without one."""
    found = {}
    for where, record in read_placed(GsmQuestion, path):
        stated = _TRUTH.search(record.answer)
        values = numbers(plain(stated[1])) if stated else []
        if len(values) != 1:
            raise DataError(f"{where}: answer: no `#### N` at its end")
        found[record.question.strip()] = values[0].value
    return found


@cache
def known_questions(path: str) -> dict[str, Decimal]:
    """The same, read once."""
    return questions(Path(path))


def is_right(answer: str, right: Decimal) -> bool:
    """Whether the answer's one result is the right one."""
    text = plain(re.sub(r"<<.*?>>", "", answer))
    found = numbers(text)
    stated = [place for place, one in enumerate(found) if _STATED.search(text[: one.start])]
    results = stated or [len(found) - 1] if found else []
    return {found[place].value for place in results} == {right} and not any(
        _is_offer(text, *pair)
        for place in results
        for pair in pairwise(found[max(place - 1, 0) : place + 2])
    )


def _is_offer(text: str, first: NumberInText, second: NumberInText) -> bool:
    """Whether the two are one of "5 or 6", "5, 6" and "5/6"."""
    between = text[first.end : second.start]
    return first.value != second.value and _OFFER.fullmatch(between) is not None
