"""Scores that stand beside the two answers of a pair: margins, ties and contradictions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from trainers.preferences.readers import fields
from trainers.preferences.readers.fields import Values
from trainers.preferences.records import Pairwise
from trainers.preferences.tally import Tally

TIES = "ties"
CONTRADICTS = "chosen has the lower score"
ONE_SCORE = "pairs with a score for one answer only"
_KINDS = ("score", "rating", "reward")
SCORE_KEYS = tuple(
    (pattern.format("chosen", kind), pattern.format("rejected", kind))
    for kind in _KINDS
    for pattern in ("{1}_{0}", "{0}_{1}", "{0}-{1}")
)
"""The names under which data sets hold the two scores; the first that are there are taken."""


def by_gap(values: Values, pairs: Iterable[Pairwise], tally: Tally) -> Iterator[Pairwise]:
    """The record's pairs with the difference of its scores as their margin, if they have none.

    Equal scores are a tie. A chosen answer of lower score than the rejected one says that one of
    the two labels is wrong, and nobody knows which. Both are dropped and counted.
    """
    gap = _gap(values, tally)
    for pair in pairs:
        if gap is None:
            yield pair
        elif gap == 0:
            tally.drop(TIES)
        elif gap < 0:
            tally.drop(CONTRADICTS)
        else:
            yield replace(pair, margin=gap if pair.margin is None else pair.margin)


def _gap(values: Values, tally: Tally) -> float | None:
    for keys in SCORE_KEYS:
        scores = [fields.optional_number(values, key) for key in keys]
        known = [score for score in scores if score is not None]
        if len(known) == 2:
            return known[0] - known[1]
        if known:
            tally.note(ONE_SCORE)
    return None
