"""Several answers in one question: shuffled orders and Borda points.

A judge that picks one of N prefers some places (Zheng et al. 2023, arXiv:2306.05685), so the
answers are shown in several orders. In one list an answer's points are the share of the others that
it ranks above. Its reward is the mean over the lists with a verdict; without any verdict it has no
reward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from statistics import fmean

from bon_common.judging.pairs import TIE

Shown = tuple[int, ...]
"""Answers by index, in the order in which the judge sees them."""


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


def points(values: Mapping[int, float]) -> dict[int, float]:
    """Borda points in 0..1 from one list's verdict. Higher values are better; equal ones share. An
    answer that stands alone gets 0.5."""
    if len(values) == 1:
        return dict.fromkeys(values, TIE)
    others = len(values) - 1
    return {
        one: sum((own > other) + (own == other) / 2 for k, other in values.items() if k != one)
        / others
        for one, own in values.items()
    }


def borda(count: int, verdicts: Sequence[Mapping[int, float]]) -> list[float | None]:
    """The reward of each answer from the verdicts on all lists; None without a verdict."""
    own: list[list[float]] = [[] for _ in range(count)]
    for verdict in verdicts:
        for one, value in points(verdict).items():
            own[one].append(value)
    return [fmean(one) if one else None for one in own]
