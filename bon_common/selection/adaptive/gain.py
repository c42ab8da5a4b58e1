"""What one more sample is expected to add to the best so far, learnt from earlier prompts.

For Gaussian rewards it follows from a prior (``improvement``). Real rewards come in a few values,
have an upper end or a long tail, and there that formula is wrong by a factor. So it is one of the
``state.features`` from which a log-linear mean is learnt.

It learns from whole draws: all of a prompt's samples, drawn without a look at their rewards. After
the first k of them, the mean of max(x - best, 0) over the others is an unbiased target.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from bon_common.selection.adaptive.log_linear import LogLinear, fit_log_linear
from bon_common.selection.adaptive.prior import NormalInverseGamma, PromptRewards, fit
from bon_common.selection.adaptive.state import features, unit

SampleRewards = Sequence[float | None]
"""Of one prompt's samples in the order in which they were drawn; None for one that may not win."""

PREFIXES = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192)
"""Numbers of rewards after which the model learns to predict."""
SHORT = (2, 3)
"""The same for draws that are too short for any of these."""
WALKS = 1024
"""With fewer prompts than this, each is taken in several orders: a draw has no order of its own."""
RIDGE = 1.0
SEED = 20


@dataclass(frozen=True, slots=True)
class GainModel:
    prior: NormalInverseGamma
    mean: LogLinear
    """The gain in units of the typical spread."""

    def gain(self, rewards: Sequence[float]) -> float:
        """What one more sample is expected to add to the best of ``rewards``, in their unit. Their
        order does not matter. Raises ValueError for no rewards, or one that is not finite."""
        return unit(self.prior) * self.mean.mean(features(self.prior, rewards))


def known(rewards: SampleRewards) -> list[float]:
    return [reward for reward in rewards if reward is not None]


def shuffled(draws: Sequence[SampleRewards]) -> list[SampleRewards]:
    """The draws in their own order, then in others from a fixed seed, at most ``WALKS`` in all."""
    source = random.Random(SEED)
    orders = list(draws)
    while draws and len(orders) + len(draws) <= WALKS:
        orders += [source.sample(draw, len(draw)) for draw in draws]
    return orders


def learn_gain(draws: Sequence[SampleRewards]) -> GainModel | None:
    """From whole draws with finite rewards. None if no draw has two rewards that differ."""
    pools = [pool for draw in draws if len(pool := known(draw)) > 1]
    prior = fit([PromptRewards.of(sorted(set(pool))) for pool in pools])
    if prior is None:
        return None
    rows, targets = [], []
    for pool in map(known, shuffled(pools)):
        for count in PREFIXES if len(pool) > PREFIXES[0] else SHORT:
            if count >= len(pool):
                break
            rows.append(features(prior, pool[:count]))
            best, others = max(pool[:count]), pool[count:]
            gains = math.fsum(max(reward - best, 0.0) for reward in others)
            targets.append(gains / len(others) / unit(prior))
    return GainModel(prior, fit_log_linear(rows, targets, RIDGE)) if rows else None
