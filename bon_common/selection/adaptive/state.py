"""What the rewards of one prompt so far say about the next one, as a few numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from bon_common.selection.adaptive.improvement import expected_improvement
from bon_common.selection.adaptive.prior import NormalInverseGamma, PromptRewards

LEAST_GAIN = 1e-4
LEAST_LEAD = 1e-2
"""Both are added before a logarithm is taken, in units of the typical spread."""


def unit(prior: NormalInverseGamma) -> float:
    """The typical spread of one prompt's rewards."""
    return math.sqrt(prior.scale / prior.shape)


def features(prior: NormalInverseGamma, rewards: Sequence[float]) -> tuple[float, ...]:
    """Seven numbers without a unit, for ``gain.GainModel``; the order of ``rewards`` does not
    matter. Raises ValueError for no rewards, or one that is not finite.

    The first is right by itself for Gaussian rewards. The others tell where rewards are not: the
    lead of the best over the next (small below an upper end), and how often values were seen.
    Equal answers have equal rewards, and a value that was seen often leaves little chance of a new
    one (Good 1953). So the Gaussian learns from the distinct values alone.
    """
    counts = Counter(rewards)
    values = sorted(counts)
    after = prior.posterior(PromptRewards.of(values)).predictive()
    best, typical = values[-1], unit(prior)
    lead = best - values[-2] if len(values) > 1 else 0.0
    return (
        math.log(expected_improvement(best, after) / typical + LEAST_GAIN),
        math.log(lead / typical + LEAST_LEAD),
        counts[best] / len(rewards),
        sum(count == 1 for count in counts.values()) / len(rewards),
        math.log(after.scale / typical),
        (best - prior.mean) / typical,
        math.log(len(rewards)),
    )
