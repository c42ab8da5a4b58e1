"""All ways to answer that a calibration measures. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bon_common.selection.adaptive.waves import Waves
from bon_gateway.calibrate.figures.good_enough import TunedGoodEnough, thresholds_of
from bon_gateway.calibrate.figures.guarantees import Demand, guarantee
from bon_gateway.calibrate.figures.hedges import (
    TunedMajorityOfTheBests,
    TunedPessimistic,
    TunedPoisson,
    TunedSoft,
)
from bon_gateway.calibrate.figures.results import Guarantee
from bon_gateway.calibrate.figures.tuning import (
    TunedWay,
    cheapest_as_good_as,
    cross_fitted,
    highest,
)
from bon_gateway.calibrate.figures.ways import Tunable, TunedBestOfN
from bon_gateway.calibrate.pools import CalibrationPrompts


@dataclass(frozen=True)
class MeasuredWays:
    """``best`` is best-of-n at any n. ``tuned`` has a parameter from half of the prompts."""

    best: TunedBestOfN
    tuned: Sequence[TunedWay]
    thresholds: Sequence[float]


def measured_ways(
    prompts: CalibrationPrompts,
    n: int,
    wave: int,
    scale: float,
    tolerance: float,
    extract: Mapping[str, object] | None,
) -> MeasuredWays:
    """``scale`` is the standard deviation of rewards within prompts; at 0 no chance depends on
    them. Without gold nothing hedges: by reward alone, best-of-N is the best."""
    best = TunedBestOfN(prompts, n)
    hedges: list[Tunable] = []
    if prompts.with_gold:
        hedges += [best, TunedPoisson(prompts, n, best)]
        if scale > 0:
            hedges += [TunedSoft(prompts, n, scale), TunedPessimistic(prompts, n, scale)]
        if extract is not None:
            hedges.append(TunedMajorityOfTheBests(prompts, n, extract))
    tuned = [cross_fitted(hedge, prompts, highest) for hedge in hedges]
    thresholds = thresholds_of(prompts, n)
    rule = cheapest_as_good_as([best.columns(size) for size in best.values], tolerance)
    tuned.append(cross_fitted(TunedGoodEnough(prompts, n, wave, thresholds), prompts, rule))
    return MeasuredWays(best, tuned, thresholds)


def guarantees(
    prompts: CalibrationPrompts, n: int, wave: int, thresholds: Sequence[float], demand: Demand
) -> Iterator[Guarantee]:
    """For ``good_enough``, and for the best of n at once: whether the first stage of a cascade
    answers."""
    yield guarantee("good_enough", prompts, thresholds, Waves(wave, wave, n), demand)
    yield guarantee(f"best of {n} at once", prompts, thresholds, Waves(n, n, n), demand)
