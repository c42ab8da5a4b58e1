"""From scored answers to pairs: the best against the worst of each prompt."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from trainers.base.data import Message
from trainers.iterate.samplers import Answer


@dataclass(frozen=True)
class Labelled:
    """The pairs of a round, and what the reward model thought of all its answers."""

    pairs: list[dict[str, Any]]
    """`{prompt, chosen, rejected, margin}`; the margin is how much higher chosen was rewarded."""
    cut: int
    """Answers left aside because the limit cut them: they would teach to stop there."""
    too_few: int
    """Prompts with fewer than two whole answers."""
    equal: int
    """Prompts whose answers are all the same text."""
    close: int
    """Prompts whose best and worst differ by no more than the least gap."""
    mean_reward: float
    """Over all whole answers: what one answer of the sampled policy is worth to the reward model;
    0 where there is none."""
    mean_best: float
    """Over the prompts with whole answers."""


Prefer = Callable[[float], bool]
"""Whether the better of two answers is the preferred one, by the difference of their rewards."""


def always(gap: float) -> bool:
    """The better answer is preferred, by however little."""
    return gap >= 0


def drawn_labels(seed: int) -> Prefer:
    """The better answer is preferred with probability sigmoid(gap) (Bradley and Terry 1952)."""
    rng = random.Random(seed)
    return lambda gap: rng.random() < 1 / (1 + math.exp(-gap))


def label(
    prompts: Sequence[list[Message]],
    answers: Sequence[Sequence[Answer]],
    rewards: Sequence[Sequence[float]],
    *,
    min_gap: float = 0.0,
    prefer: Prefer = always,
) -> Labelled:
    """Best against worst; of equal rewards the answer that was drawn first counts.

    answers, rewards: one row a prompt, of equal lengths.
    """
    pairs: list[dict[str, Any]] = []
    cut = too_few = equal = close = 0
    all_rewards: list[float] = []
    bests: list[float] = []
    for prompt, row, scores in zip(prompts, answers, rewards, strict=True):
        whole = [(s, a.text) for a, s in zip(row, scores, strict=True) if a.ended]
        cut += len(row) - len(whole)
        all_rewards += [s for s, _ in whole]
        bests += [max(s for s, _ in whole)] if whole else []
        if len(whole) < 2:
            too_few += 1
            continue
        best = max(whole, key=lambda scored: scored[0])
        worst = min(whole, key=lambda scored: scored[0])
        if len({text for _, text in whole}) == 1:
            equal += 1
        elif best[0] - worst[0] <= min_gap or best[1] == worst[1]:
            close += 1
        elif prefer(best[0] - worst[0]):
            pairs.append(_pair(prompt, best, worst))
        else:
            pairs.append(_pair(prompt, worst, best))
    return Labelled(
        pairs,
        cut,
        too_few,
        equal,
        close,
        fmean(all_rewards) if all_rewards else 0.0,
        fmean(bests) if bests else 0.0,
    )


def _pair(
    prompt: list[Message], chosen: tuple[float, str], rejected: tuple[float, str]
) -> dict[str, Any]:
    return {
        "prompt": prompt,
        "chosen": [{"role": "assistant", "content": chosen[1]}],
        "rejected": [{"role": "assistant", "content": rejected[1]}],
        "margin": chosen[0] - rejected[0],
    }
