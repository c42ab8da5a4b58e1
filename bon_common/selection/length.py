"""How much of a reward is length: a slope fitted within prompts, and the reward without it.

Reward models like long answers, so best-of-N would choose length. Rewards of different prompts do
not compare, and easy prompts have short answers; so only differences within a prompt are fitted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def length_slope(prompts: Sequence[tuple[Sequence[int], Sequence[float]]]) -> float:
    """The reward that one more unit of length brings, by least squares within prompts.

    ``prompts`` has each prompt's lengths and rewards, in the same order. Each prompt has an
    intercept of its own: the slope is sum (l - l')(r - r') / sum (l - l')^2 over all answers, where
    l' and r' are the means of the answer's prompt. Exact: less the slope times the length, rewards
    have no correlation with length within prompts. A prompt with one answer says nothing.

    Raises ValueError if the lengths and rewards of a prompt differ in number, or if no prompt has
    answers of different lengths.
    """
    products, squares = [], []
    for lengths, rewards in prompts:
        if len(lengths) != len(rewards):
            raise ValueError(f"{len(lengths)} lengths for {len(rewards)} rewards")
        if not lengths:
            continue
        mean_length = math.fsum(lengths) / len(lengths)
        mean_reward = math.fsum(rewards) / len(rewards)
        for length, reward in zip(lengths, rewards, strict=True):
            products.append((length - mean_length) * (reward - mean_reward))
            squares.append((length - mean_length) ** 2)
    variation = math.fsum(squares)
    if not variation:
        raise ValueError("no prompt has answers of different lengths")
    return math.fsum(products) / variation


def without_length(reward: float, length: float, slope: float, reference: float) -> float:
    """The reward that the answer would have with the ``reference`` length."""
    return reward - slope * (length - reference)
