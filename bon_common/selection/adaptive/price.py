"""The price at which stopping by price is expected to give the same reward as best-of-n."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bon_common.selection.adaptive.gain import GainModel, SampleRewards, known, shuffled
from bon_common.selection.adaptive.waves import Waves

HALVINGS = 40


def matching_price(
    model: GainModel, waves: Waves, target: float, draws: Sequence[SampleRewards]
) -> float:
    """In the unit of the rewards: the highest price at which stopping in ``waves``, as soon as the
    gain of another sample falls below it, gives on ``draws`` at least the mean reward of
    best-of-``target``.

    ``draws`` are whole draws of at least ``waves.cap`` samples; a prompt without any reward says
    nothing. A target at the cap or above, infinity among them, has the price 0: everything is
    drawn. So it is without draws.
    """
    if target >= waves.cap:
        return 0.0
    walks = [
        _walk(model, waves, int(target), order[: waves.cap])
        for order in shuffled([draw for draw in draws if known(draw[: waves.cap])])
    ]
    if not walks:
        return 0.0
    # Above the largest gain every walk ends with its first wave.
    low, high = (
        0.0,
        2 * max((gain for w in walks for gain in w.gains if gain < math.inf), default=0),
    )
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if math.fsum([walk.lead(middle) for walk in walks]) >= 0:
            low = middle
        else:
            high = middle
    return low


@dataclass(frozen=True, slots=True)
class _Walk:
    """One prompt with all samples up to the cap, at the end of each wave."""

    gains: Sequence[float]
    """What another sample is expected to add."""
    leads: Sequence[float]
    """How far the best so far is above the best of the first ``target``."""

    def lead(self, price: float) -> float:
        """At the end of the first wave after which another sample is not worth ``price``."""
        for gain, lead in zip(self.gains, self.leads, strict=True):
            if gain < price:
                return lead
        return self.leads[-1]


def _walk(model: GainModel, waves: Waves, target: int, rewards: SampleRewards) -> _Walk:
    # Without a reward that counts, it has the worst answer.
    worst = min(known(rewards))
    aim = max(known(rewards[:target]), default=worst)
    gains, leads = [], []
    for drawn in waves.ends():
        seen = known(rewards[:drawn])
        # One reward says nothing of how they vary.
        gains.append(model.gain(seen) if len(seen) > 1 else math.inf)
        leads.append(max(seen, default=worst) - aim)
    return _Walk(gains, leads)
