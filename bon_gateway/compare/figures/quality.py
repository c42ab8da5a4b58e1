"""How many samples of the base policy equal a tuned policy: the matched N. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bon_common.best_of_n import best_of_n
from bon_gateway.compare.statistics import Interval, Resamples

Curve = Mapping[int, Sequence[float]]
"""For each N the quality at each prompt."""

NEVER_WINS = -1e12
"""Below every reward: a candidate that did not finish wins only if no other one finished."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """The candidates of one request."""

    proxy: Sequence[float]
    """The rewards that the gateway chooses by."""
    quality: Sequence[float]
    """The scores of the primary scorer."""


def estimated_curve(prompts: Sequence[Sequence[Sampled]], largest: int) -> Curve:
    """Best-of-n at every n up to ``largest``, by the unbiased estimator on each request's own
    candidates; the mean over the requests of a prompt. Every request has ``largest`` or more."""
    return {
        n: [fmean(best_of_n(s.proxy, s.quality, n) for s in samples) for samples in prompts]
        for n in range(1, largest + 1)
    }


def matched_n(curve: Curve, tuned: Sequence[float], resamples: Resamples) -> Interval:
    """The smallest N of the curve whose mean quality is not below the tuned policy's; infinite
    if none is. The interval resamples prompts, the same for both."""
    sizes = sorted(curve)

    def smallest(means: Sequence[float]) -> float:
        *bon, wanted = means
        return next((float(n) for n, m in zip(sizes, bon, strict=True) if m >= wanted), math.inf)

    columns = [*(curve[n] for n in sizes), tuned]
    value = smallest([fmean(column) for column in columns])
    return resamples.interval(value, resamples.of_means(smallest, columns))


def pareto(places: Mapping[str, tuple[float, float]]) -> list[str]:
    """The arms that no other arm matches or beats in both cost and quality, cheapest first.
    ``places`` has each arm's cost and quality."""
    front = []
    best = -math.inf
    for name, (_, quality) in sorted(places.items(), key=lambda p: (p[1][0], -p[1][1])):
        if quality > best:
            front.append(name)
            best = quality
    return front
