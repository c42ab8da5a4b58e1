"""The expected reward of best-of-n, estimated without drawing n answers again and again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby


def best_of_n(proxy: Sequence[float], gold: Sequence[float], n: int) -> float:
    """Mean gold reward of the answer with the best proxy reward among n drawn from M.

    ``proxy`` and ``gold`` have the rewards of one prompt's M answers, in the same order. With
    ``gold`` = ``proxy`` it is the expected best reward. See ``chances_to_be_best``.

    Raises ValueError if the lengths differ or n is not within 1 to M.
    """
    if len(gold) != len(proxy):
        raise ValueError(f"{len(proxy)} proxy rewards for {len(gold)} gold rewards")
    chances = chances_to_be_best(proxy, n)
    return math.fsum(chance * value for chance, value in zip(chances, gold, strict=True))


def chances_to_be_best(rewards: Sequence[float], n: int) -> list[float]:
    """For each of M answers the chance that it has the best reward among n drawn from them.

    There are C(M, n) ways to draw n of them, and in C(i-1, n-1) of these the i-th worst is the
    best. So its chance is C(i-1, n-1) / C(M, n), which makes means over all draws unbiased, and
    exact for the answers at hand (Nakano et al. 2021, arXiv:2112.09332, appendix I). Answers of
    equal reward win equally often.

    Raises ValueError if n is not within 1 to M.
    """
    total = len(rewards)
    if not 1 <= n <= total:
        raise ValueError(f"n must be within 1 to {total}, got {n}")
    # weights[i] = C(i-1, n-1) / C(M, n), from the top down: w_M = n / M and
    # w_(i-1) = w_i (i-n) / (i-1). The binomials themselves would overflow a float for large M.
    weights = [0.0] * (total + 1)
    weights[total] = n / total
    for i in range(total, n, -1):
        weights[i - 1] = weights[i] * (i - n) / (i - 1)
    chances, rank = [0.0] * total, 0
    ordered = sorted(range(total), key=lambda place: rewards[place])
    for _, group in groupby(ordered, key=lambda place: rewards[place]):
        tied = list(group)
        shared = math.fsum(weights[rank + 1 : rank + len(tied) + 1]) / len(tied)
        for place in tied:
            chances[place] = shared
        rank += len(tied)
    return chances
