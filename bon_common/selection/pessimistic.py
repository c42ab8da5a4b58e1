"""Inference-time pessimism: how far a high reward raises the chance to win is bounded."""

from __future__ import annotations

import math
from collections.abc import Sequence


def pessimistic(rewards: Sequence[float], beta: float) -> tuple[float, list[float]]:
    """The threshold lam, and each candidate's chance p_i = relu((r_i - lam) / beta) / N.

    lam is the one number at which the chances sum to 1, so it depends on all N rewards. ``beta``
    and lam are in the rewards' own unit. Exactly: a reward that is beta or more below the mean of
    all never wins, and one that is N beta or more above all others always does. Towards 0 the best
    reward wins, equal ones equally often; towards infinity all win equally often. It is the policy
    that trades reward against chi-squared divergence: Huang et al. 2025, arXiv:2503.21878.

    Raises ValueError if beta is not above 0 or there are no rewards.
    """
    if not beta > 0:
        raise ValueError(f"beta must be above 0, got {beta}")
    if not rewards:
        raise ValueError("there are no rewards")
    count, best = len(rewards), max(rewards)
    # In units of beta below the best, the threshold lies between -N and 0: no large number is
    # subtracted from another, whatever the rewards are.
    scaled = [(reward - best) / beta for reward in rewards]
    total, threshold = 0.0, -math.inf
    # If the k best are those above the threshold, it is (their sum - N) / k. Each further one is
    # above it as long as it is above the threshold that it would make.
    for k, value in enumerate(sorted(scaled, reverse=True), start=1):
        total += value
        lowered = (total - count) / k
        if value <= lowered:
            break
        threshold = lowered
    chances = [max(value - threshold, 0.0) / count for value in scaled]
    return best + beta * threshold, chances


def pessimistic_log_weights(rewards: Sequence[float], beta: float) -> list[float]:
    """The logarithms of ``pessimistic``'s chances; -inf for a candidate without one."""
    _, chances = pessimistic(rewards, beta)
    return [math.log(chance) if chance > 0 else -math.inf for chance in chances]
