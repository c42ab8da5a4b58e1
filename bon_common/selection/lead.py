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
