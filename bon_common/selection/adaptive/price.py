"""The price at which stopping by price is expected to give the same reward as best-of-n."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from bon_common.selection.adaptive.improvement import expected_improvement
from bon_common.selection.adaptive.prior import NormalInverseGamma, PromptRewards
from bon_common.selection.adaptive.waves import Waves

PROMPTS = 4000
"""With these the noise of a price is 2 %, and computing it takes 0.8 s of one core."""
SEED = 20
HALVINGS = 30


def matching_price(
    prior: NormalInverseGamma, waves: Waves, target: float, prompts: int = PROMPTS
) -> float:
    """In the unit of the rewards: stopping in ``waves`` as soon as the expected gain of another
    sample falls below it gives the expected reward of best-of-``target`` under ``prior``.

    ``prompts`` are drawn from the prior with a fixed seed, each with samples up to the cap. On the
    same samples the rule is compared with best-of-``target``, so that most of the noise cancels. A
    target at the cap or above, infinity among them, has the price 0: everything is drawn.
    """
    if target >= waves.cap:
        return 0.0
    typical = math.sqrt(prior.scale / prior.shape)
    # Nothing depends on the unit or on the prior mean, so the answer for one unit is that for all.
    unit = replace(prior, mean=0.0, scale=prior.shape)
    source = random.Random(SEED)
    walks = [_walk(source, unit, waves, int(target)) for _ in range(prompts)]
    low, high = 0.0, max(gains[0] for gains, _ in walks)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if math.fsum(_lead(gains, leads, middle) for gains, leads in walks) > 0:
            low = middle
        else:
            high = middle
    return typical * (low + high) / 2


def _walk(
    source: random.Random, prior: NormalInverseGamma, waves: Waves, target: int
) -> tuple[list[float], list[float]]:
    """One prompt, with all samples up to the cap. For the end of each wave: the expected gain of
    another sample, and how far the best so far is above the best of the first ``target``."""
    spread = math.sqrt(prior.scale / source.gammavariate(prior.shape, 1.0))
    mean = source.gauss(prior.mean, spread / math.sqrt(prior.strength))
    rewards = [source.gauss(mean, spread) for _ in range(waves.cap)]
    best = list(accumulate(rewards, max))
    gains, leads = [], []
    for drawn in waves.ends():
        after = prior.posterior(PromptRewards.of(rewards[:drawn]))
        gains.append(expected_improvement(best[drawn - 1], after.predictive()))
        leads.append(best[drawn - 1] - best[target - 1])
    return gains, leads


def _lead(gains: Sequence[float], leads: Sequence[float], price: float) -> float:
    """The lead at the end of the first wave after which another sample is not worth ``price``."""
    for gain, lead in zip(gains, leads, strict=True):
        if gain < price:
            return lead
    return leads[-1]
