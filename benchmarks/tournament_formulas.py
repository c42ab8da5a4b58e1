"""Exact figures of tournaments with a judge that is right in a share q of its comparisons, for any
two answers. They are computed without running a tournament."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import combinations, product

WINNER, PIVOT, LOSER = "winner", "pivot", "loser"
"""Winners against the pivot, the pivot, losers against it."""
RANKS = (LOSER, PIVOT, WINNER)


def knockout_best(n: int, q: float) -> float:
    """How often the best of n = 2^k wins."""
    return float(q ** math.log2(n))


def knockout_rank(n: int, q: float) -> float:
    """The winner's expected rank among n = 2^k; 1 is the best.

    Let qualities be uniform on 0..1, and let G_k be the distribution function of the winner's. The
    winner among 2^(k+1) has beaten another winner of 2^k, so G_(k+1) = 2 (1 - q) G_k + (2 q - 1)
    G_k^2. The judge sees only ranks, and the r-th best of n has the mean quality (n + 1 - r) / (n +
    1), so the expected rank is (n + 1) times the integral of the last G.
    """
    # By powers of the quality.
    known = [0.0, 1.0]
    for _ in range(round(math.log2(n))):
        squared = _times(known, known)
        known += [0.0] * (len(squared) - len(known))
        known = [2 * (1 - q) * g + (2 * q - 1) * s for g, s in zip(known, squared, strict=True)]
    return (n + 1) * sum(factor / (power + 1) for power, factor in enumerate(known))


def _times(one: Sequence[float], other: Sequence[float]) -> list[float]:
    found = [0.0] * (len(one) + len(other) - 1)
    for i, x in enumerate(one):
        for j, y in enumerate(other):
            found[i + j] += x * y
    return found


def pivot_best(n: int, q: float, finalists: int) -> float:
    """How often the best of n wins a pivot tournament with a random pivot and this many finalists.

    Each of the others beats the pivot, with probability q if it is better and 1 - q if not. If
    there are enough winners, the finalists are drawn from them. Otherwise the pivot joins them, and
    then some of the answers that it beat.
    """
    return sum(_given_pivot(n, q, min(finalists, n), rank) for rank in range(1, n + 1)) / n


def _given_pivot(n: int, q: float, k: int, rank: int) -> float:
    """Adds up over the numbers of winners that are better and worse than the pivot."""
    above, below = rank - 1, n - rank
    total = 0.0
    for better, worse in product(range(above + 1), range(below + 1)):
        chance = _binomial(above, better, q) * _binomial(below, worse, 1 - q)
        winners = better + worse
        if winners >= k:
            # The best is one of the better winners with better / above, and then drawn with k of
            # all winners.
            if better:
                own = better / above * k / winners
                total += chance * own * final(q, (WINNER,) * k)
            continue
        total += chance * _small(q, k, (above, below), (better, worse))
    return total


def _small(q: float, k: int, groups: tuple[int, int], winners: tuple[int, int]) -> float:
    """With fewer winners than finalists: the pivot and some of the losers are finalists too."""
    losers = (groups[0] - winners[0], groups[1] - winners[1])
    places = k - 1 - sum(winners)
    total = 0.0
    for drawn in range(min(places, losers[0]) + 1):
        rest = places - drawn
        if rest > losers[1]:
            continue
        ways = math.comb(losers[0], drawn) * math.comb(losers[1], rest)
        chance = ways / math.comb(sum(losers), places)
        worse = _orders(winners[1], rest)
        for first, weight in _firsts(groups[0], winners[0], losers[0], drawn):
            left = (winners[0] - (first == WINNER), drawn - (first == LOSER))
            better = _orders(*left) if first else ((),)
            courses = product(better, worse)
            lead = (first,) if first else ()
            own = [final(q, (*lead, *above, PIVOT, *under)) for above, under in courses]
            total += chance * weight * sum(own) / len(own)
    return total


def _firsts(above: int, winners: int, losers: int, drawn: int) -> list[tuple[str, float]]:
    """Roles of the best answer with their probabilities, if it is a finalist. Empty for the
    pivot."""
    if not above:
        return [("", 1.0)]
    found = [(WINNER, winners / above)] if winners else []
    if drawn:
        found.append((LOSER, losers / above * drawn / losers))
    return found


@cache
def _orders(winners: int, losers: int) -> tuple[tuple[str, ...], ...]:
    """All orders by quality, which are equally likely."""
    total = winners + losers
    chosen = combinations(range(total), winners)
    return tuple(
        tuple(WINNER if place in own else LOSER for place in range(total)) for own in chosen
    )


def _binomial(n: int, k: int, p: float) -> float:
    return float(math.comb(n, k) * p**k * (1 - p) ** (n - k))


@cache
def final(q: float, kinds: tuple[str, ...]) -> float:
    """How often the best wins the final of these players, the best first. The others do not meet
    the pivot again. Ties for the first place go to the one that did better against the pivot, then
    to chance."""
    every = combinations(range(len(kinds)), 2)
    pairs = [(i, j) for i, j in every if PIVOT not in (kinds[i], kinds[j])]
    known = [int(PIVOT in kinds and kind == WINNER) for kind in kinds]
    if PIVOT in kinds:
        known[kinds.index(PIVOT)] = kinds.count(LOSER)
    total = 0.0
    for course in product((True, False), repeat=len(pairs)):
        wins, chance = list(known), 1.0
        for (better, worse), right in zip(pairs, course, strict=True):
            wins[better if right else worse] += 1
            chance *= q if right else 1 - q
        total += chance * _share_of_first(kinds, wins)
    return total


def _share_of_first(kinds: Sequence[str], wins: Sequence[int]) -> float:
    standing = [(won, RANKS.index(kind)) for won, kind in zip(wins, kinds, strict=True)]
    if len({*wins}) == 1:
        # The final told no players apart.
        standing = [(0, own) for _, own in standing]
    first = max(standing)
    return (standing[0] == first) / standing.count(first)
