"""Several answers in one question: shuffled orders and Borda points.

A judge that picks one of N prefers some places (Zheng et al. 2023, arXiv:2306.05685), so the
answers are shown in several orders. In one list an answer's points are the share of the others that
it ranks above, or should rank above by the judge's probabilities. Its reward is the mean over the
lists with a verdict; without any verdict it has no reward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random
from statistics import fmean

from bon_common.judging.pairs import TIE

Shown = tuple[int, ...]
"""Answers by index, in the order in which the judge sees them."""
Beats = Callable[[float, float], float]
"""The probability that the first of two answers is better, from their values."""


def lists(
    count: int, repeats: int, longest: int, random: Random, *, shuffle: bool = True
) -> list[list[Shown]]:
    """The lists of each repeat. Together they have every answer once.

    Each repeat deals more than ``longest`` answers anew to several lists of nearly equal length. If
    all answers are in one list, each repeat turns the order by one place, so with as many repeats
    as answers each answer stands in every place once.
    """
    order = random.sample(range(count), count) if shuffle else list(range(count))
    parts = -(-count // longest)
    found = []
    for repeat in range(repeats):
        if parts == 1:
            turn = repeat % count if shuffle else 0
            found.append([(*order[turn:], *order[:turn])])
            if turn == count - 1:
                random.shuffle(order)
            continue
        found.append([tuple(order[part::parts]) for part in range(parts)])
        if shuffle:
            random.shuffle(order)
    return found


def points_of_order(values: Mapping[int, float]) -> dict[int, float]:
    """Borda points in 0..1 of the answers in a list that a judge has put in order. Higher values
    are better; equal ones share. An answer that stands alone gets 0.5."""
    return _points(values, lambda own, other: (own > other) + (own == other) / 2)


def points_of_chances(chances: Mapping[int, float]) -> dict[int, float]:
    """Expected Borda points in 0..1 from the probabilities that an answer is the best of its list.

    By Luce's axiom (1959) an answer beats another one with its share of the two probabilities. So a
    judge that always prefers the first place still tells answers apart by how much it does: the
    order of the probabilities would not.
    """
    return _points(chances, lambda own, other: own / (own + other) if own + other else TIE)


def mean_points(count: int, lists: Iterable[Mapping[int, float]]) -> list[float | None]:
    """The reward of each answer: its mean points over the lists with a verdict; None without."""
    own: list[list[float]] = [[] for _ in range(count)]
    for points in lists:
        for one, value in points.items():
            own[one].append(value)
    return [fmean(one) if one else None for one in own]


def _points(values: Mapping[int, float], beats: Beats) -> dict[int, float]:
    return {
        one: fmean(beats(own, other) for k, other in values.items() if k != one)
        if len(values) > 1
        else TIE
        for one, own in values.items()
    }
