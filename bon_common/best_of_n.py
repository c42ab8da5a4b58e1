"""The expected reward of best-of-n, estimated without drawing n answers again and again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from statistics import fmean


def best_of_n(proxy: Sequence[float], gold: Sequence[float], n: int) -> float:
    """Mean gold reward of the answer with the best proxy reward among n drawn from M.

    ``proxy`` and ``gold`` have the rewards of one prompt's M answers, in the same order. There are
    C(M, n) ways to draw n of them, and in C(i-1, n-1) of these the i-th worst by proxy is the best.
    So the mean over all draws is sum_i C(i-1, n-1) / C(M, n) gold_(i): unbiased, and exact for the
    answers at hand (Nakano et al. 2021, arXiv:2112.09332, appendix I). Answers of equal proxy
    reward win equally often. With ``gold`` = ``proxy`` it is the expected best reward.

    Raises ValueError if the lengths differ or n is not within 1 to M.
    """
    total = len(proxy)
    if len(gold) != total:
        raise ValueError(f"{total} proxy rewards for {len(gold)} gold rewards")
    if not 1 <= n <= total:
        raise ValueError(f"n must be within 1 to {total}, got {n}")
    # weights[i] = C(i-1, n-1) / C(M, n), from the top down: w_M = n / M and
    # w_(i-1) = w_i (i-n) / (i-1). The binomials themselves would overflow a float for large M.
    weights = [0.0] * (total + 1)
    weights[total] = n / total
    for i in range(total, n, -1):
        weights[i - 1] = weights[i] * (i - n) / (i - 1)
    ordered = sorted(zip(proxy, gold, strict=True), key=lambda both: both[0])
    value, rank = 0.0, 0
    for _, tied in groupby(ordered, key=lambda both: both[0]):
        golds = [both[1] for both in tied]
        value += math.fsum(weights[rank + 1 : rank + len(golds) + 1]) * fmean(golds)
        rank += len(golds)
    return value
