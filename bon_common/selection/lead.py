"""Whether a vote is decided before all votes are in."""

from __future__ import annotations

import math


def chance_to_lead(first: int, second: int) -> float:
    """The chance that the answer with ``first`` votes is the more frequent one in truth, where the
    other has ``second`` votes.

    It is P(p > 1/2) under Beta(first + 1, second + 1), the posterior of its share p from a uniform
    prior (Aggarwal et al. 2023, arXiv:2305.11860). For whole numbers that is a binomial tail:
    sum of C(m, j) over j = 0..first, over 2^m, with m = first + second + 1. Exact but for one
    rounding. Raises ValueError for negative votes.
    """
    if first < 0 or second < 0:
        raise ValueError(f"votes must not be negative, got {first} and {second}")
    trials = first + second + 1
    return sum(math.comb(trials, j) for j in range(first + 1)) / (1 << trials)


def chance_to_stay(first: int, second: int, others: int, more: int) -> float:
    """The chance that the answer with ``first`` votes still leads the one with ``second`` when
    ``more`` votes are in; a tie counts half. ``others`` is how many votes went to further answers.

    The shares of the two and of all others have a uniform prior, so the ``more`` votes are
    Dirichlet-multinomial: x, y and z of them have the chance C(first + x, x) C(second + y, y)
    C(others + z, z) / C(votes + more + 2, more). The chance that another answer overtakes both is
    smaller, and left out. Exact but for one rounding, in time quadratic in ``more``. Raises
    ValueError for a negative number.
    """
    if min(first, second, others, more) < 0:
        raise ValueError(
            f"votes must not be negative, got {first}, {second}, {others} and {more} more"
        )
    ours, theirs, rest = (
        [math.comb(votes + drawn, drawn) for drawn in range(more + 1)]
        for votes in (first, second, others)
    )
    halves = 0
    for x in range(more + 1):
        # With this many votes the second ties; with fewer it stays behind.
        tie = first + x - second
        behind = sum(theirs[y] * rest[more - x - y] for y in range(min(tie, more - x + 1)))
        halves += 2 * ours[x] * behind
        if 0 <= tie <= more - x:
            halves += ours[x] * theirs[tie] * rest[more - x - tie]
    return halves / (2 * math.comb(first + second + others + more + 2, more))
