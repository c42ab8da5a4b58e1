"""Best-of-N with a bonus for consensus: pessimism about what only the reward model likes."""

from __future__ import annotations

from collections.abc import Sequence


def mbr_values(rewards: Sequence[float], consensus: Sequence[float], beta: float) -> list[float]:
    """What each candidate is worth: reward + beta x consensus (MBR-BoN: Jinnai et al. 2025,
    arXiv:2404.01054).

    ``consensus`` is each candidate's mean similarity to the others, which estimates its expected
    similarity to what the policy says: what minimum Bayes risk decoding maximises. ``beta`` is in
    the rewards' unit: with 0 the best reward wins, very large the answer that is most like others.

    Raises ValueError if the lengths differ, or if beta is negative or not a number.
    """
    if not beta >= 0:
        raise ValueError(f"beta must not be negative, got {beta}")
    return [
        reward + beta * similarity for reward, similarity in zip(rewards, consensus, strict=True)
    ]
