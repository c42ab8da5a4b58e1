"""Prompts with rewards of several shapes, from fixed seeds."""

from __future__ import annotations

import random
from collections.abc import Callable

SHAPES: dict[str, Callable[[random.Random], float]] = {
    "gaussian": lambda source: source.gauss(0, 1),
    "exponential": lambda source: source.expovariate(1),
    "left_skewed": lambda source: -source.expovariate(1),
    "uniform": lambda source: source.uniform(0, 3.5),
}
"""The spread is 1; the prompts' means spread three times as far."""


def prompts(shape: str, count: int, samples: int, seed: int) -> list[list[float]]:
    source = random.Random(seed)
    means = [source.gauss(0, 3) for _ in range(count)]
    return [[mean + SHAPES[shape](source) for _ in range(samples)] for mean in means]


def few_values(count: int, samples: int, seed: int) -> list[list[float]]:
    """Answers that repeat: each prompt has a good, a middling and many poor ones, and its own
    chance of each."""
    source = random.Random(seed)
    found = []
    for _ in range(count):
        good, middling = source.betavariate(0.5, 1.0), source.random()
        found.append([_answer(source, good, middling) for _ in range(samples)])
    return found


def _answer(source: random.Random, good: float, middling: float) -> float:
    if source.random() < good:
        return 2.0
    return 1.0 if source.random() < middling else -float(source.randrange(4))
