"""All ways to answer that a calibration measures. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bon_common.selection.adaptive.waves import Waves
from bon_gateway.calibrate.figures.consensus import TunedMbr
from bon_gateway.calibrate.figures.good_enough import TunedGoodEnough, thresholds_of
from bon_gateway.calibrate.figures.guarantees import Demand, guarantee
from bon_gateway.calibrate.figures.hedges import TunedPessimistic, TunedPoisson, TunedSoft
from bon_gateway.calibrate.figures.results import Guarantee
from bon_gateway.calibrate.figures.tuning import (
    TunedWay,
    cheapest_as_good_as,
    cross_fitted,
    highest,
)
from bon_gateway.calibrate.figures.voting import TunedMajorityOfTheBests, TunedWeightedVote
from bon_gateway.calibrate.figures.ways import Tunable, TunedBestOfN
from bon_gateway.calibrate.pools import CalibrationPrompts

SMALLER = (2, 4, 8)
"""What n is divided by, where the best strategy is tried with fewer candidates."""


@dataclass(frozen=True)
class MeasuredWays:
    """``best`` is best-of-n at any n. ``tuned`` have a parameter that other prompts chose."""

    best: TunedBestOfN
    tuned: Sequence[TunedWay]

    @property
    def widest(self) -> list[TunedWay]:
        """Those with the most candidates."""
        return [way for way in self.tuned if way.tunable.n == self.best.n]

    def name(self, way: TunedWay) -> str:
        """Each has its own."""
        if way.tunable is self.best:
            return "best_of_n, n chosen"
        kind, n = way.tunable.name, way.tunable.n
        return kind if n == self.best.n else f"{kind} n={n}"


@dataclass(frozen=True)
class Hedges:
    """``scale`` is the standard deviation of rewards within prompts; at 0 no chance depends on
    them. ``extract`` are the settings that found final answers, None if nothing votes."""

    prompts: CalibrationPrompts
    scale: float
    extract: Mapping[str, object] | None

    def of(self, n: int) -> Iterator[Tunable]:
        """Those that take n candidates, whatever they are worth."""
        if self.scale > 0:
            yield TunedSoft(self.prompts, n, self.scale)
            yield TunedPessimistic(self.prompts, n, self.scale)
            yield TunedMbr(self.prompts, n, self.scale)
        if self.extract is not None:
            yield TunedMajorityOfTheBests(self.prompts, n, self.extract)
            if self.scale > 0:
                yield TunedWeightedVote(self.prompts, n, self.extract, self.scale)

    def tuned(self, n: int) -> list[TunedWay]:
        """At ``n``, and the best of them with fewer candidates too, if it hedges."""
        found = [cross_fitted(one, self.prompts, highest) for one in self.of(n)]
        if not found:
            return []
        best = max(found, key=lambda way: fmean(way.held_out.worths))
        if best.value == best.tunable.plain:
            return found
        sizes = [n // divisor for divisor in SMALLER if n // divisor > 1]
        return found + [
            cross_fitted(one, self.prompts, highest)
            for size in sizes
            for one in self.of(size)
            if one.name == best.tunable.name
        ]


def measured_ways(
    hedges: Hedges, n: int, wave: int, tolerance: float, *, steady: bool = True
) -> MeasuredWays:
    """Without gold nothing hedges: by reward alone, best-of-N is the best. No threshold can be set
    on rewards that are not ``steady``: those only compare the candidates of one request."""
    prompts = hedges.prompts
    best = TunedBestOfN(prompts, n)
    tuned = []
    if prompts.with_gold:
        drawing = (best, TunedPoisson(prompts, n, best))
        tuned += [*(cross_fitted(one, prompts, highest) for one in drawing), *hedges.tuned(n)]
    if not steady:
        return MeasuredWays(best, tuned)
    thresholds = thresholds_of((pool for own in prompts.pools for pool in own), n)
    rule = cheapest_as_good_as([best.columns(size) for size in best.values], tolerance)
    tuned.append(cross_fitted(TunedGoodEnough(prompts, n, wave, thresholds), prompts, rule))
    return MeasuredWays(best, tuned)


def guarantees(
    prompts: CalibrationPrompts, n: int, wave: int, demand: Demand
) -> Iterator[Guarantee]:
    """For ``good_enough``, and for the best of n at once: whether the first stage of a cascade
    answers."""
    yield guarantee("good_enough", prompts, Waves(wave, wave, n), demand)
    yield guarantee(f"best of {n} at once", prompts, Waves(n, n, n), demand)
