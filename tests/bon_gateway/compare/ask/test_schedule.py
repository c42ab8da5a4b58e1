from __future__ import annotations

import itertools
import math
from collections import Counter

from bon_gateway.compare.ask.schedule import (
    BLOCK,
    arrivals,
    interleaved,
    warm_up,
)
from bon_gateway.compare.types import Key


def test_every_arm_is_asked_every_prompt() -> None:
    keys = interleaved("closed", ["a", "b", "c"], 20, 2, 1)
    assert len(keys) == len(set(keys)) == 3 * 20 * 2
    assert set(Counter(key.arm for key in keys).values()) == {40}


def test_arms_are_interleaved_within_blocks_of_prompts() -> None:
    keys = interleaved("closed", ["a", "b", "c"], 20, 1, 1)
    for first in range(0, 2 * 3 * BLOCK, 3 * BLOCK):
        block = keys[first : first + 3 * BLOCK]
        assert set(Counter(key.arm for key in block).values()) == {BLOCK}
        assert len({key.prompt for key in block}) == BLOCK
        assert len(list(itertools.groupby(block, key=lambda key: key.arm))) > 6


def test_a_seed_decides_the_order() -> None:
    assert interleaved("closed", ["a", "b"], 9, 1, 1) == interleaved("closed", ["a", "b"], 9, 1, 1)
    assert interleaved("closed", ["a", "b"], 9, 1, 1) != interleaved("closed", ["a", "b"], 9, 1, 2)


def test_the_warm_up_asks_each_arm_so_often() -> None:
    keys = warm_up(["a", "b"], 2, 5, 0)
    assert Counter(key.arm for key in keys) == {"a": 5, "b": 5}
    assert len(set(keys)) == 10


def test_arrivals_are_a_poisson_process() -> None:
    """Kolmogorov and Smirnov: gaps are exponential, and given their number the arrivals are
    uniform over time. At level .01 the distance is below 1.63 / sqrt(n)."""
    rate, count = 5.0, 3000
    keys = [Key("open 5/s", "a", i, 0) for i in range(count)]
    found = arrivals(keys, rate, 7)
    assert [key for key, _ in found] == keys
    times = [at_s for _, at_s in found]
    gaps = [b - a for a, b in itertools.pairwise([0.0, *times])]
    assert min(gaps) >= 0.0
    assert distance([1 - math.exp(-rate * gap) for gap in gaps]) < 1.63 / math.sqrt(count)
    uniform = [at / times[-1] for at in times[:-1]]
    assert distance(uniform) < 1.63 / math.sqrt(count - 1)
    # One gap says nothing of the next.
    assert abs(correlation(gaps[:-1], gaps[1:])) < 3 / math.sqrt(count)


def test_the_distance_finds_what_is_no_poisson_process() -> None:
    even = [1 - math.exp(-5.0 * 0.2)] * 3000
    assert distance(even) > 1.63 / math.sqrt(3000)


def distance(uniform: list[float]) -> float:
    """Of an empirical distribution from the uniform one on 0 to 1."""
    ordered, count = sorted(uniform), len(uniform)
    return max(max((i + 1) / count - value, value - i / count) for i, value in enumerate(ordered))


def correlation(first: list[float], second: list[float]) -> float:
    means = sum(first) / len(first), sum(second) / len(second)
    pairs = [(a - means[0], b - means[1]) for a, b in zip(first, second, strict=True)]
    return sum(a * b for a, b in pairs) / math.sqrt(
        sum(a * a for a, _ in pairs) * sum(b * b for _, b in pairs)
    )
