"""How many candidates to start, and whom to stop, so that the reward is that of best-of-n."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bon_common.selection.pruning.probes import PartialFit

LEAST_SAVING = 0.04
"""Share of best-of-n's tokens that pruning must be expected to save. Reading partial answers costs
something too, and what is expected may be wrong."""
FEW, MANY = 1 / 8, 3 / 8
"""Spare candidates beside n, between which ``left`` is known from simulations."""


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
    """How to prune answers of ``tokens`` tokens on average. None if that would save too little: if
    partial and final rewards correlate by less than ``least_correlation``, or if the checkpoints
    come late."""
    telling = {
        checkpoint: fit
        for checkpoint, fit in sorted(fits.items())
        if fit.correlation >= least_correlation and checkpoint < tokens
    }
    shares = [(checkpoint / tokens, fit.correlation) for checkpoint, fit in telling.items()]
    # Many spare candidates save most if the first are stopped early. If that comes late, they have
    # cost too much by then, and a few are better.
    options = [(expected_tokens(shares, n, more), more) for more in (spare, spare // 3)]
    expected, more = min(options)
    chance = matching_chance(n, more) if least_chance is None else least_chance
    if not telling or expected > 1 - LEAST_SAVING or not chance > 0:
        return None
    return PruningPlan(n + more, chance, telling)


def expected_tokens(shares: Sequence[tuple[float, float]], n: int, spare: int) -> float:
    """Tokens that n + ``spare`` candidates generate, as a share of those of n that all run to their
    end, if all are equally long. ``shares`` has the share of an answer at each checkpoint,
    ascending, and the correlation there."""
    running, before, total = 1.0, 0.0, 0.0
    for share, correlation in shares:
        total += running * (share - before)
        running, before = min(running, left(correlation, spare / n)), share
    return (total + running * (1 - before)) * (1 + spare / n)


def left(correlation: float, spare: float) -> float:
    """Share of the candidates that a checkpoint leaves with ``matching_chance`` and ``spare``
    candidates beside each of n. Straight lines through what simulations with Gaussian rewards show
    for n = 16 and correlations from 0.25 to 0.9, where they are right within 0.03. With n = 8 up to
    0.1 more are left, with n = 32 up to 0.07 fewer."""
    beyond = (min(max(spare, FEW), MANY) - FEW) / (MANY - FEW)
    few, many = 1.17 - 1.1 * correlation, 0.8 - 0.72 * correlation
    return min(1.0, few + beyond * (many - few))


def matching_chance(n: int, spare: int) -> float:
    """The least chance with which n + ``spare`` candidates, pruned, give the reward of best-of-n.

    Fitted to simulations with Gaussian rewards for n from 4 to 32 (benchmarks/pruning_simulation.py
    shows the reward that it gives). The correlations hardly matter: where they are weak, fewer
    candidates fall below it. Without spare candidates it is 0, because nothing makes up for a best
    candidate that was stopped.
    """
    return 0.53 / n * math.sqrt(math.sqrt(min(1.0, 8 * spare / (3 * n))))
