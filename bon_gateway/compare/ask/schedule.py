"""Which arm is asked which prompt, in which order and when. Pure: a seed decides everything."""

from __future__ import annotations

import random
from collections.abc import Sequence

from bon_gateway.compare.types import Key

WARM_UP = "warm-up"
CLOSED = "closed"
BLOCK = 8
"""Prompts that are shuffled together."""


def open_phase(rate: float) -> str:
    """The name of an open loop's phase; ``rate`` in requests a second."""
    return f"open {rate:g}/s"


def interleaved(
    phase: str, arms: Sequence[str], prompts: int, repeats: int, seed: int
) -> list[Key]:
    """Every arm with every prompt ``repeats`` times, in random order within blocks of a few
    prompts: a drift of the machine hits all arms alike, and a run that is stopped has asked all
    arms nearly the same prompts."""
    rng = random.Random(f"{seed} {phase}")
    keys: list[Key] = []
    for repeat in range(repeats):
        order = rng.sample(range(prompts), prompts)
        for first in range(0, prompts, BLOCK):
            block = [
                Key(phase, arm, prompt, repeat)
                for arm in arms
                for prompt in order[first : first + BLOCK]
            ]
            rng.shuffle(block)
            keys += block
    return keys


def warm_up(arms: Sequence[str], prompts: int, count: int, seed: int) -> list[Key]:
    """``count`` requests to each arm."""
    rng = random.Random(f"{seed} {WARM_UP}")
    keys = [Key(WARM_UP, arm, i % prompts, i // prompts) for arm in arms for i in range(count)]
    rng.shuffle(keys)
    return keys


def arrivals(keys: Sequence[Key], rate: float, seed: int) -> list[tuple[Key, float]]:
    """Each request with its second of a Poisson process of ``rate`` a second: the gaps are
    exponential and independent."""
    rng = random.Random(f"{seed} arrivals {rate:g}")
    now, found = 0.0, []
    for key in keys:
        now += rng.expovariate(rate)
        found.append((key, now))
    return found
