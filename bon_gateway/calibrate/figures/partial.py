"""How well the reward of an answer's beginning tells that of the whole answer. Pure.

``pruning`` stops candidates by such partial rewards. It works only if they go with the final ones
within a prompt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from bon_gateway.calibrate.figures.within import (
    Pairs,
    WithinCorrelation,
    grouped,
    within_correlation,
)
from bon_gateway.calibrate.pools import CalibrationPrompts, JudgedPool
from bon_gateway.compare.statistics import Resamples

MOST_CHECKPOINTS = 8
"""Token counts at which partial rewards are looked at: those that most candidates have."""
SHARES = (0.25, 0.5, 0.75)
NEAR = 0.125
"""A partial reward counts for the share of the answer that it is this near to."""

Pick = Callable[[Mapping[int, float], int], float | None]
"""From partial rewards by tokens, and the tokens of the whole answer, to the one to look at."""


def partial_correlations(
    prompts: CalibrationPrompts, resamples: Resamples
) -> list[WithinCorrelation]:
    """Of the reward of an answer's beginning with that of the whole answer: rho, by shares of the
    answer and by tokens. Empty without partial rewards."""
    every = (pool for own in prompts.pools for pool in own)
    counts = Counter(tokens for pool in every for partial in pool.partials for tokens in partial)
    if not counts:
        return []
    usual = sorted(sorted(counts, key=lambda t: (-counts[t], t))[:MOST_CHECKPOINTS])
    picks: dict[str, Pick] = {}
    for share in SHARES:
        picks[f"partial reward at {share:.0%} of the answer"] = _at_share(share)
    for tokens in usual:
        picks[f"partial reward after {tokens} tokens"] = _after(tokens)
    found = [
        within_correlation(name, grouped(prompts, _partial_pairs(pick)), resamples)
        for name, pick in picks.items()
    ]
    return [one for one in found if one.prompts]


def _at_share(share: float) -> Pick:
    def pick(partial: Mapping[int, float], length: int) -> float | None:
        near = [t for t in partial if length and abs(t / length - share) <= NEAR]
        return partial[min(near, key=lambda t: abs(t / length - share))] if near else None

    return pick


def _after(tokens: int) -> Pick:
    """Partial rewards only, without the whole answer's reward."""
    return lambda partial, length: partial.get(tokens) if tokens < length else None


def _partial_pairs(
    pick: Pick,
) -> Callable[[JudgedPool], Pairs]:
    def pairs(pool: JudgedPool) -> Pairs:
        both = zip(pool.partials, pool.tokens, pool.rewards, strict=True)
        return [
            (early, reward)
            for partial, length, reward in both
            if (early := pick(partial, length)) is not None
        ]

    return pairs
