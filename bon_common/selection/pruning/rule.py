"""Stop the candidates that have little chance to become the best.

Speculative rejection (Sun et al. 2024, arXiv:2410.20290) stops a fixed share at each checkpoint.
Here it depends on how far a candidate is behind, and on how much the partial rewards tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bon_common.selection.pruning.chance import Belief, chances_to_win
from bon_common.selection.pruning.probes import TINY, PartialFit

POOLED = 4
"""How many candidates the variance that is pooled over prompts is worth, beside this prompt's own:
its few candidates say little about a variance."""
LARGEST_CORRELATION = 0.999
"""Above it a belief would be so narrow that chances say nothing of how little is between two."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The candidates of one request at one checkpoint. All are raw rewards."""

    running: Mapping[int, float]
    """The partial rewards of those that may be stopped, by index."""
    others: Sequence[float | None] = ()
    """Those of candidates that go on anyway and may still win; None where it is not known."""
    passed: Sequence[float] = ()
    """All partial rewards at this checkpoint, those of ended candidates among them."""
    incumbent: float | None = None
    """The best final reward so far."""


def to_stop(
    standing: Standing, fit: PartialFit, least_chance: float, most: int
) -> tuple[int, ...] | None:
    """Indices to stop, at most ``most``: those whose chance to become the best is below
    ``least_chance``, the least chance first, and of equal ones the higher index first. Never all,
    if there is neither an incumbent nor another candidate. None if the partial rewards say nothing,
    because there are fewer than two, or all are equal.

    Given its partial reward p, a final reward is Gaussian with mean m + shift + rho ratio (p - m)
    and deviation ratio s sqrt(1 - rho^2); m and s^2 are mean and variance of the prompt's partial
    rewards, the variance with ``POOLED`` candidates' worth of the pooled one. Raises ValueError for
    a reward that is not finite.
    """
    numbers = [*standing.running.values(), *standing.passed, standing.incumbent or 0.0]
    numbers += [other for other in standing.others if other is not None]
    if not all(map(math.isfinite, numbers)):
        raise ValueError("rewards must be finite")
    indices = sorted(standing.running)
    chances = chances_of(standing, fit)
    if chances is None:
        return None
    kept_anyway = bool(standing.others) or standing.incumbent is not None
    most = min(most, len(indices) if kept_anyway else len(indices) - 1)
    order = sorted(zip(chances, (-index for index in indices), strict=True))
    return tuple(-index for chance, index in order[: max(most, 0)] if chance < least_chance)


def chances_of(standing: Standing, fit: PartialFit) -> list[float] | None:
    """The chance of each running candidate, by ascending index; None if the partial rewards are all
    equal, or fewer than two."""
    forecast = Forecast.of(standing.passed or [*standing.running.values()], fit)
    if forecast is None:
        return None
    running = [forecast.belief(standing.running[index]) for index in sorted(standing.running)]
    # In one order, so that rounding does not depend on the order in which candidates came.
    others = sorted(map(forecast.belief, standing.others), key=lambda b: (b.mean, b.deviation))
    return chances_to_win([*running, *others], standing.incumbent)[: len(running)]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What partial rewards of one prompt at one checkpoint tell of the final ones."""

    fit: PartialFit
    mean: float
    """Of the prompt's partial rewards."""
    deviation: float

    @classmethod
    def of(cls, passed: Sequence[float], fit: PartialFit) -> Forecast | None:
        """None if the partial rewards are all equal, or fewer than two."""
        if len(passed) < 2:
            return None
        mean = math.fsum(passed) / len(passed)
        squares = math.fsum((reward - mean) ** 2 for reward in passed)
        if squares < TINY:
            return None
        variance = (squares + POOLED * fit.variance) / (len(passed) - 1 + POOLED)
        return cls(fit, mean, math.sqrt(variance))

    def belief(self, partial: float | None) -> Belief:
        """Of a candidate with this partial reward; None if that is not known."""
        centre, spread = self.mean + self.fit.shift, self.fit.ratio * self.deviation
        if partial is None:
            return Belief(centre, spread)
        correlation = max(0.0, min(self.fit.correlation, LARGEST_CORRELATION))
        told = correlation * self.fit.ratio * (partial - self.mean)
        return Belief(centre + told, spread * math.sqrt(1 - correlation**2))
