"""Pools of made-up candidates whose rewards have a known distribution, for ``strategies.py``.

A candidate's reward is the quantile of its shape at a latent standard normal number, times the
prompt's spread. Its unfinished text at fraction f of its length has a latent number of its own,
with the correlation that a ``Partial`` says, and the reward at that: so rewards of unfinished
answers are distributed as those of finished ones. Lengths are lognormal and say nothing of the
reward.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import NormalDist
from typing import Any

import msgspec

from bon_gateway.recording.entry import VERSION
from bon_gateway.replay.log import PlacedRequest, RecordedRequest
from bon_gateway.replay.pools import PoolSet, pool_set

NORMAL = NormalDist()
MEDIAN_TOKENS, LENGTH_SIGMA = 100.0, 0.5
PROMPT_TOKENS = 50
CHECKPOINTS = (32, 64, 128, 256, 512, 1024, 2048)
"""Tokens after which an unfinished text has a reward: where ``pruning`` looks by default."""
MEANS = 3.0
"""How far the prompts' means spread, in units of the typical spread within one."""
GRID = 20_000
"""Quantiles that stand for a shape where the oracle needs its expected gain."""


@dataclass(frozen=True)
class Shape:
    """One distribution of rewards within a prompt."""

    name: str
    quantile: Callable[[float], float]
    """From a share of candidates to the reward that it stays below; the spread is about 1."""
    spreads: float = 0.0
    """Standard deviation of the logarithm of the prompts' spreads."""
    zero: bool = False
    """Whether most candidates have reward 0, and the shape is that of the others: as a judge rates
    answers to hard questions. The share of the others is the prompt's own."""


def _exponential(share: float) -> float:
    return -math.log1p(-share)


SHAPES = (
    Shape("gaussian", NORMAL.inv_cdf),
    Shape("gaussian, spreads differ", NORMAL.inv_cdf, spreads=0.5),
    Shape("exponential", _exponential),
    Shape("exponential, spreads differ", _exponential, spreads=0.5),
    Shape("left-skewed", lambda share: math.log(max(share, 1e-12))),
    Shape("uniform", lambda share: math.sqrt(12) * share),
    Shape("heavy tail at zero", lambda share: math.exp(NORMAL.inv_cdf(share)), zero=True),
)


@dataclass(frozen=True)
class Prompt:
    shape: Shape
    mean: float
    spread: float
    above_zero: float
    """Share of candidates that are not 0; 1 without a heap there."""

    def reward(self, latent: float) -> float:
        share = min(max(NORMAL.cdf(latent), 1e-12), 1 - 1e-12)
        within = share - (1 - self.above_zero)
        if within <= 0:
            return 0.0
        return self.mean + self.spread * self.shape.quantile(within / self.above_zero)


def prompts_of(shape: Shape, count: int, source: random.Random) -> Iterator[Prompt]:
    for _ in range(count):
        spread = math.exp(source.gauss(0, shape.spreads))
        if shape.zero:
            yield Prompt(shape, 0.0, spread, max(source.betavariate(0.5, 1.0), 1e-3))
        else:
            yield Prompt(shape, source.gauss(0, MEANS), spread, 1.0)


Partial = Callable[[float], float]
"""From the fraction of an answer that is there to the correlation of its reward with the final
one."""
PARTIALS: dict[str, Partial] = {
    "sqrt(f)": math.sqrt,
    "f": lambda fraction: fraction,
    "0 in the first half": lambda fraction: math.sqrt(max(0.0, 2 * fraction - 1)),
}


def made_pools(shape: Shape, partial: Partial, count: int, size: int, seed: int) -> PoolSet:
    """``count`` prompts with ``size`` candidates each."""
    source = random.Random(f"{shape.name} {seed}")
    pools = [
        [_candidate(place, prompt, partial, source) for place in range(size)]
        for prompt in prompts_of(shape, count, source)
    ]
    return pool_set_of(pools)


def voting_pools(count: int, size: int, seed: int) -> PoolSet:
    """Answers that are numbers, without rewards; gold is 1 for the right one. How often the policy
    is right is the prompt's own, and its mistakes are five."""
    source = random.Random(f"votes {seed}")
    pools = []
    for _ in range(count):
        right = source.betavariate(2.0, 1.0)
        mistakes = list(accumulate(source.expovariate(1.0) for _ in range(5)))
        pool = []
        for place in range(size):
            answer = 0
            if source.random() >= right:
                answer = 1 + bisect_right(mistakes, source.random() * mistakes[-1])
            text = f"It is {answer}."
            pool.append(_told(place, text, _tokens(source), None, gold=float(answer == 0)))
        pools.append(pool)
    return pool_set_of(pools)


def pool_set_of(pools: Sequence[Sequence[dict[str, Any]]]) -> PoolSet:
    lines = [
        {
            "v": VERSION,
            "model": "made",
            "policy": "made",
            "policy_revision": None,
            "reward": "made",
            "messages": [{"role": "user", "content": f"prompt {number}"}],
            "candidates": pool,
            "prompt_tokens": PROMPT_TOKENS,
        }
        for number, pool in enumerate(pools)
    ]
    return pool_set(
        (PlacedRequest(f"made:{i}", msgspec.convert(line, RecordedRequest)) for i, line in
         enumerate(lines)), None, 1,
    )  # fmt: skip


def _candidate(
    place: int, prompt: Prompt, partial: Partial, source: random.Random
) -> dict[str, Any]:
    latent, tokens = source.gauss(0, 1), _tokens(source)
    noise = source.gauss(0, 1)
    partial_rewards = []
    for seen in [point for point in CHECKPOINTS if point < tokens]:
        rho = partial(seen / tokens)
        # The noise is the answer's own: what misleads at one checkpoint misleads at the next.
        there = rho * latent + math.sqrt(1 - rho**2) * noise
        partial_rewards.append([seen, prompt.reward(there)])
    # Its beginnings differ from those of other answers, as equal texts have equal rewards.
    text = f"{place:03d}".ljust(tokens, ".")
    return _told(place, text, tokens, prompt.reward(latent), partial_rewards=partial_rewards)


def _told(
    place: int, text: str, tokens: int, reward: float | None, **more: object
) -> dict[str, Any]:
    return {
        "index": place,
        "status": "finished",
        "tokens": tokens,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
        "reward": reward,
        **more,
    }


def _tokens(source: random.Random) -> int:
    return max(1, round(MEDIAN_TOKENS * math.exp(source.gauss(0, LENGTH_SIGMA))))


def oracle_share(shape: Shape, n: int, cap: int, count: int, seed: int) -> float:
    """Samples that the best rule needs at the reward of best-of-``n``, as a share of them: it knows
    each prompt's distribution, draws one at a time, at most ``cap``, and stops as soon as the
    expected gain of another falls below the price at which the rewards are equal on average."""
    source = random.Random(f"{shape.name} oracle {seed}")
    # E[max(Q - z, 0)] at each quantile, by sums from above.
    quantiles = [shape.quantile((i + 0.5) / GRID) for i in range(GRID)]
    above = [0.0] * GRID
    for i in reversed(range(GRID - 1)):
        step = quantiles[i + 1] - quantiles[i]
        above[i] = above[i + 1] + step * (GRID - 1 - i) / GRID

    def gain(prompt: Prompt, best: float) -> float:
        z = (best - prompt.mean) / prompt.spread
        place = bisect_right(quantiles, z) - 1
        if place < 0:
            known = above[0] + quantiles[0] - z
        else:
            known = above[place] - (z - quantiles[place]) * (GRID - 1 - place) / GRID
        return prompt.above_zero * prompt.spread * max(known, 0.0)

    walks = []
    for prompt in prompts_of(shape, count, source):
        best = list(accumulate((prompt.reward(source.gauss(0, 1)) for _ in range(cap)), max))
        walks.append((best, [gain(prompt, value) for value in best]))

    def stops(price: float) -> list[int]:
        return [next((i for i, g in enumerate(gains) if g < price), cap - 1) for _, gains in walks]

    low, high = 0.0, max(gains[0] for _, gains in walks)
    for _ in range(40):
        price = (low + high) / 2
        ends = zip(walks, stops(price), strict=True)
        lead = math.fsum(best[end] - best[n - 1] for (best, _), end in ends)
        low, high = (price, high) if lead >= 0 else (low, price)
    return sum(end + 1 for end in stops(low)) / len(walks) / n
