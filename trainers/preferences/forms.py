"""Turns one form of preference into another: lists to pairs, scores to lists, all to scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import combinations
from operator import itemgetter
from typing import Literal

from trainers.base.data import Conversation
from trainers.preferences.records import (
    ListedAnswer,
    Listwise,
    Pairwise,
    Pointwise,
    Preference,
    asked,
)
from trainers.preferences.tally import Tally

Form = Literal["pairwise", "pointwise", "listwise"]
PairChoice = Literal["best_worst", "all"]

TIES = "ties"
SMALL_GAP = "pair under min_margin"
NO_SCORE = "answer without a score"
NO_RANKS = "ranked answers, which have no scores"
PAIR_NO_SCORE = "pair, which has no scores"
OTHER_METADATA = "records whose metadata gave way to those of their prompt's first record"
TOO_FEW_SCORES = "fewer than two scored answers"
BETWEEN = "scored record beside the best and the worst of its prompt"


def in_form(
    preferences: Iterable[Preference],
    form: Form,
    tally: Tally,
    *,
    pairs: PairChoice = "best_worst",
    min_margin: float = 0.0,
) -> Iterator[Preference]:
    """Every preference in the form asked for; those that cannot take it are counted.

    Pointwise records are held in memory until the end, since those of one prompt may be anywhere in
    the file.
    """
    if form == "pointwise":
        for preference in preferences:
            yield from _points(preference, tally)
        return
    for preference in grouped(preferences, tally):
        if form == "listwise":
            yield from _lists(preference, tally)
        elif isinstance(preference, Pairwise):
            yield from _checked(preference, tally, min_margin)
        else:
            yield from pairs_of(preference, tally, pairs=pairs, min_margin=min_margin)


def pairs_of(
    preference: Listwise, tally: Tally, *, pairs: PairChoice, min_margin: float = 0.0
) -> Iterator[Pairwise]:
    """Best against worst, or every two answers, the better one first.

    The margin is the difference of the scores, or none if they are only an order. Answers without a
    score, pairs of equal score and pairs whose margin is below `min_margin` are counted. The first
    of several best (or worst) answers is taken.
    """
    scored = _scored(preference, tally)
    if len(scored) < 2:
        tally.drop(TOO_FEW_SCORES)
        return
    if pairs == "best_worst":
        chosen = [(max(scored, key=itemgetter(0)), min(scored, key=itemgetter(0)))]
        if preference.pooled:
            tally.drop(BETWEEN, len(scored) - 2)
    else:
        chosen = [(a, b) if a[0] >= b[0] else (b, a) for a, b in combinations(scored, 2)]
    for (high, better), (low, worse) in chosen:
        if high == low:
            tally.drop(TIES)
            continue
        pair = Pairwise(
            preference.prompt,
            better.answer,
            worse.answer,
            None if preference.ordinal else high - low,
            preference.subset,
            _by_dimension(better, worse),
            preference.inputs,
            preference.metadata,
        )
        yield from _checked(pair, tally, min_margin)


def _by_dimension(chosen: ListedAnswer, rejected: ListedAnswer) -> dict[str, int]:
    """Which of two answers is better, for each dimension that both have a score in."""
    other = rejected.dimensions
    return {
        name: (score > other[name]) - (score < other[name])
        for name, score in chosen.dimensions.items()
        if name in other
    }


def _scored(preference: Listwise, tally: Tally) -> list[tuple[float, ListedAnswer]]:
    found = [(c.score, c) for c in preference.candidates if c.score is not None]
    tally.drop(NO_SCORE, len(preference.candidates) - len(found))
    return found


def _checked(pair: Pairwise, tally: Tally, min_margin: float) -> Iterator[Pairwise]:
    if pair.margin is not None and pair.margin < min_margin:
        tally.drop(SMALL_GAP)
    else:
        yield pair


def _points(preference: Preference, tally: Tally) -> Iterator[Pointwise]:
    if isinstance(preference, Pointwise):
        yield preference
    elif isinstance(preference, Pairwise):
        tally.drop(PAIR_NO_SCORE)
    elif preference.ordinal:
        tally.drop(NO_RANKS)
    else:
        for score, candidate in _scored(preference, tally):
            yield Pointwise(
                preference.prompt,
                candidate.answer,
                score,
                candidate.dimensions,
                preference.inputs,
                preference.metadata,
            )


def _lists(preference: Pairwise | Listwise, tally: Tally) -> Iterator[Listwise]:
    if isinstance(preference, Pairwise):
        yield as_list(preference)
        return
    scored = _scored(preference, tally)
    if len(scored) < 2:
        tally.drop(TOO_FEW_SCORES)
    elif len({score for score, _ in scored}) == 1:
        tally.drop(TIES)
    else:
        yield replace(preference, candidates=tuple(candidate for _, candidate in scored))


def as_list(pair: Pairwise) -> Listwise:
    """A list of two. Its scores are the margin and 0, or 1 and 0 as an order without a margin."""
    score = 1.0 if pair.margin is None else pair.margin
    return Listwise(
        pair.prompt,
        (ListedAnswer(pair.chosen, score), ListedAnswer(pair.rejected, 0.0)),
        ordinal=pair.margin is None,
        subset=pair.subset,
        inputs=pair.inputs,
        metadata=pair.metadata,
    )


def grouped(preferences: Iterable[Preference], tally: Tally) -> Iterator[Pairwise | Listwise]:
    """Pointwise records of one prompt become a list, in the order of their first appearance. The
    first one's metadata counts; those that differ are counted."""
    groups: dict[str, tuple[Conversation, list[ListedAnswer]]] = {}
    for preference in preferences:
        if not isinstance(preference, Pointwise):
            yield preference
            continue
        prompt = asked(preference)
        first, candidates = groups.setdefault(prompt.key, (prompt, []))
        tally.note(OTHER_METADATA, prompt.metadata != first.metadata)
        if any(candidate.answer == preference.answer for candidate in candidates):
            tally.drop("the same answer scored again")
        else:
            candidates.append(
                ListedAnswer(preference.answer, preference.score, dimensions=preference.dimensions)
            )
    for prompt, candidates in groups.values():
        yield Listwise(
            prompt.messages,
            tuple(candidates),
            inputs=prompt.inputs,
            metadata=prompt.metadata,
            pooled=True,
        )
