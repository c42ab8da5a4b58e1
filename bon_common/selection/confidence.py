"""How sure a policy was of an answer, from the log-probabilities of its tokens.

Every function takes natural logarithms. ``mean`` of the tokens' own log-probabilities is the
simplest confidence, at most 0. The others look at the most likely tokens at each place: an engine
tells only the ``k`` largest log-probabilities, and neither the rest nor the size V of its
vocabulary. Which tokens count, and what is done with an answer without any, others decide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate


def mean(values: Sequence[float]) -> float:
    """Raises ValueError without values."""
    if not values:
        raise ValueError("there are no tokens")
    return math.fsum(values) / len(values)


def self_certainty(top: Sequence[float]) -> float:
    """Self-certainty of one token: how far its distribution is from uniform, in nats, at least 0.

    The paper's is -(1/V) sum_j ln(V p_j), the divergence of p from the uniform distribution (Kang
    et al. 2025, arXiv:2502.18581). Here it is the same of the k largest, renormalised: with
    q_j = p_j / sum_i p_i it is -(1/k) sum_j ln(k q_j). Renormalised, because then the least value
    is 0, for k equally likely tokens, and with k = V it is the paper's. What is outside the k does
    not count. An answer's self-certainty is the mean over its tokens.

    ``top``: the k largest log-probabilities, in any order. Raises ValueError for fewer than two,
    which say nothing.
    """
    if len(top) < 2:
        raise ValueError(f"self-certainty needs two log-probabilities or more, got {len(top)}")
    most = max(top)
    # ln sum p_j, with the largest taken out, so that no exponential underflows to a sum of 0.
    total = most + math.log(math.fsum(math.exp(value - most) for value in top))
    # Rounding must not make it negative.
    return max(0.0, total - mean(top) - math.log(len(top)))


def token_confidence(top: Sequence[float]) -> float:
    """DeepConf's confidence in one token: -(1/k) sum of the k largest log-probabilities, above 0
    (Fu et al. 2025, arXiv:2508.15260). It is high where one token takes nearly all probability and
    the other k - 1 get little.

    ``top``: the k largest log-probabilities, in any order. Raises ValueError if there are none.
    """
    return -mean(top)


def lowest_group(values: Sequence[float], window: int) -> float:
    """The lowest mean of ``window`` successive tokens' confidences: where the policy was least sure
    (DeepConf's lowest group confidence, arXiv:2508.15260). Of fewer tokens it is the mean of all.

    Raises ValueError without values, or for a window below 1.
    """
    if window < 1:
        raise ValueError(f"the window must be at least 1, got {window}")
    if len(values) <= window:
        return mean(values)
    sums = [0.0, *accumulate(values)]
    return min(map(_difference, sums[window:], sums)) / window


def _difference(above: float, below: float) -> float:
    return above - below
