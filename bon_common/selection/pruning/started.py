"""How many candidates to start, and whom to stop, so that the reward is that of best-of-n."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bon_common.selection.pruning.probes import PartialFit

EARLY = 0.25
"""Share of an answer up to which a checkpoint is early."""
FEWER = 3
"""Without an early checkpoint a third of the spare candidates are started. All of them would have
generated too much by the time when the first are stopped."""


@dataclass(frozen=True, slots=True)
class PruningPlan:
    started: int
    least_chance: float
    """A candidate with less chance to become the best is stopped."""
    fits: Mapping[int, PartialFit]
    """Of the checkpoints at which candidates are stopped, by tokens."""


def plan(
    fits: Mapping[int, PartialFit],
    tokens: float,
    *,
    n: int,
    spare: int,
    least_correlation: float,
    least_chance: float | None,
) -> PruningPlan | None:
    """None if no checkpoint tells enough: partial and final rewards correlate by less than
    ``least_correlation``, or none comes before the mean length of an answer, ``tokens``. None too
    if nobody would be stopped."""
    telling = {
        checkpoint: fit
        for checkpoint, fit in sorted(fits.items())
        if fit.correlation >= least_correlation and checkpoint < tokens
    }
    if not telling:
        return None
    if min(telling) > EARLY * tokens:
        spare //= FEWER
    if least_chance is None:
        least_chance = matching_chance(n, spare)
    if not least_chance > 0:
        return None
    return PruningPlan(n + spare, least_chance, telling)


def matching_chance(n: int, spare: int) -> float:
    """The least chance with which n + ``spare`` candidates, pruned, give the reward of best-of-n.

    Fitted to simulations with Gaussian rewards for n from 4 to 32 (benchmarks/pruning_simulation.py
    shows the reward that it gives). The correlations hardly matter: where they are weak, fewer
    candidates fall below it. Without spare candidates it is 0, because nothing makes up for a best
    candidate that was stopped.
    """
    return 0.56 / n * math.sqrt(math.sqrt(min(1.0, 8 * spare / (3 * n))))
