"""What is computed from pools. Pure: lists of numbers in, numbers out.

Every figure is first one number a prompt, so that differences are paired by prompts and intervals
come from resampling prompts (`bon_gateway.compare.statistics`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bon_common.best_of_n import best_of_n
from bon_gateway.compare.statistics import Interval, Resamples, prompts_to_decide
from real_study.pools import Drawn, Pool

CONFIDENCE = 0.95
RESAMPLED = 2000
Selector = Callable[[Drawn], float]
"""What a candidate is chosen by: the highest wins."""


def by_reward(one: Drawn) -> float:
    return -math.inf if one.reward is None else one.reward


def by_logprob(one: Drawn) -> float:
    return one.mean_logprob


def by_length(one: Drawn) -> float:
    return float(one.tokens)


def by_gold(one: Drawn) -> float:
    return one.gold


def at_random(_: Drawn) -> float:
    """All are equal, and equals win equally often."""
    return 0.0


def by_other(name: str) -> Selector:
    """By another reward model."""
    return lambda one: one.others[name]


def usable(selector: Selector) -> Selector:
    """As the gateway chooses: an answer that the limit cut wins only where none has ended."""
    return lambda one: selector(one) if one.finished else -math.inf


def chosen(pool: Pool, selector: Selector, value: Selector, n: int) -> float:
    """Expected `value` of the best by `selector` among n of the pool's candidates, exactly."""
    return best_of_n([selector(one) for one in pool.drawn], [value(one) for one in pool.drawn], n)


def oracle(pool: Pool, n: int) -> float:
    """Chance that one of n candidates is right."""
    return chosen(pool, by_gold, by_gold, n)


@dataclass(frozen=True)
class Row:
    """One way to answer: its accuracy on each prompt, and what it costs."""

    values: Sequence[float]
    tokens: float
    """Generated tokens a prompt, those of candidates that lost included."""


@dataclass(frozen=True)
class Compared:
    """A row beside the row that all are compared with."""

    accuracy: Interval
    difference: Interval
    decided: bool
    """Zero is outside the interval of the difference."""
    prompts_to_decide: int | None
    """How many prompts would decide it, if it is not; None where the difference is 0."""
    way: Interval | None
    """Share of the way from the compared row to the oracle; None where there is no way to go."""


def compared(
    row: Sequence[float], base: Sequence[float], best: Sequence[float], resamples: Resamples
) -> Compared:
    """`best` is what an oracle would have."""
    differences = [ours - theirs for ours, theirs in zip(row, base, strict=True)]
    difference = resamples.mean(differences)
    decided = difference.low > 0 or difference.high < 0
    return Compared(
        accuracy=resamples.mean(row),
        difference=difference,
        decided=decided,
        prompts_to_decide=None if decided else prompts_to_decide(differences, CONFIDENCE),
        way=way(row, base, best, resamples),
    )


def way(
    row: Sequence[float], base: Sequence[float], best: Sequence[float], resamples: Resamples
) -> Interval | None:
    """(row - base) / (best - base) of the means. None unless the oracle is better in every
    resample: the share would mean nothing."""
    columns = [resamples.means(values) for values in (row, base, best)]
    if min(high - low for _, low, high in zip(*columns, strict=True)) <= 0:
        return None
    replicates = [(own - low) / (high - low) for own, low, high in zip(*columns, strict=True)]
    low, high = fmean(base), fmean(best)
    return resamples.interval((fmean(row) - low) / (high - low), replicates)


def resamples_of(prompts: int) -> Resamples:
    return Resamples(prompts, RESAMPLED, CONFIDENCE, 0)


def correlation(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Pearson's; None where one side does not differ."""
    try:
        return statistics.correlation(left, right)
    except statistics.StatisticsError:
        return None


def within_prompts(
    pairs: Sequence[tuple[Sequence[float], Sequence[float]]],
) -> list[float]:
    """The correlation of each prompt where both sides differ. That some prompts have higher
    rewards than others has no part in it."""
    found = (correlation(left, right) for left, right in pairs)
    return [one for one in found if one is not None]


def share_of(values: Sequence[float]) -> Interval | None:
    """Their mean with its interval, if there are any."""
    return resamples_of(len(values)).mean(values) if values else None


def pair_accuracy(pool: Pool, selector: Selector) -> float | None:
    """How often a right answer stands above a wrong one of the same prompt, equals half; None
    where there are not both. Equal texts count once: a model says the same of them."""
    distinct = {one.text: one for one in pool.drawn}.values()
    right = [selector(one) for one in distinct if one.gold > 0]
    wrong = [selector(one) for one in distinct if one.gold <= 0]
    if not right or not wrong:
        return None
    return fmean(_above(one, other) for one in right for other in wrong)


def _above(one: float, other: float) -> float:
    return 0.5 if one == other else float(one > other)


def pair_accuracies(pools: Sequence[Pool], selector: Selector) -> list[float]:
    """Of the prompts that have both."""
    found = (pair_accuracy(pool, selector) for pool in pools)
    return [one for one in found if one is not None]


def majority(pool: Pool, n: int | None = None) -> float:
    """Accuracy of the text that is there most often, of equally frequent ones each with the same
    chance; `n` looks at the first n alone."""
    drawn = pool.drawn[:n]
    counts: dict[str, list[float]] = {}
    for one in drawn:
        counts.setdefault(one.text.strip().casefold(), []).append(one.gold)
    most = max(map(len, counts.values()))
    return fmean(fmean(golds) for golds in counts.values() if len(golds) == most)


def interval_json(found: Interval | None) -> dict[str, float] | None:
    """As figures.json has it."""
    if found is None:
        return None
    return {"value": found.value, "low": found.low, "high": found.high}


def compared_json(found: Compared) -> dict[str, object]:
    """As figures.json has it."""
    parts: Mapping[str, Interval | None] = {
        "accuracy": found.accuracy,
        "difference": found.difference,
        "way": found.way,
    }
    return {name: interval_json(part) for name, part in parts.items()} | {
        "decided": found.decided,
        "prompts_to_decide": found.prompts_to_decide,
    }
