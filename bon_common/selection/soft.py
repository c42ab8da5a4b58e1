"""Soft best-of-n: the better the reward the likelier the win, but none is certain."""

from __future__ import annotations

from collections.abc import Sequence


def soft_log_weights(rewards: Sequence[float], temperature: float) -> list[float]:
    """Log weights of P(i) proportional to exp(r_i / temperature); the best one's is 0.

    ``temperature`` is in the rewards' own unit. Towards 0 the best reward wins, equal ones equally
    often; towards infinity all win equally often. A candidate so far below the best that a float
    cannot hold it gets -inf. Soft best-of-n: Verdun et al. 2025, arXiv:2505.03156.

    Raises ValueError if the temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    best = max(rewards, default=0.0)
    # The difference comes first: a quotient alone may be infinite, and inf - inf is no number.
    return [(reward - best) / temperature for reward in rewards]
