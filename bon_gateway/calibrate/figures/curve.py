"""Best-of-n at every size, and what its gold says about over-optimisation. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from bon_common.selection.calibration.over_optimisation import GoldCurve, fit_gold_curve
from bon_gateway.calibrate.figures.results import NPoint, OverOptimisation
from bon_gateway.calibrate.figures.ways import TunedBestOfN, sizes_up_to
from bon_gateway.compare.statistics import Resamples


def curve_points(best: TunedBestOfN, largest: int, resamples: Resamples) -> tuple[NPoint, ...]:
    def point(n: int) -> NPoint:
        found = best.columns(n)
        return NPoint(
            n,
            tokens=resamples.mean(found.tokens),
            reward=resamples.mean(found.rewards),
            gold=None if found.golds is None else resamples.mean(found.golds),
        )

    return tuple(point(n) for n in sizes_up_to(largest))


def over_optimisation(
    golds: Sequence[Sequence[float]], sizes: Sequence[int], resamples: Resamples
) -> OverOptimisation | None:
    """``golds`` has a column for each size. The first size is 1. None with fewer than two sizes
    above 1."""
    if len(sizes) < 3:
        return None

    def fit(means: Sequence[float]) -> GoldCurve:
        return fit_gold_curve(sizes, [mean - means[0] for mean in means])

    def alpha(means: Sequence[float]) -> float:
        return fit(means).alpha

    def beta(means: Sequence[float]) -> float:
        return fit(means).beta

    means = [fmean(column) for column in golds]
    found = fit(means)
    best, told = _told(found, sizes[-1])
    return OverOptimisation(
        alpha=resamples.interval(found.alpha, resamples.of_means(alpha, golds)),
        beta=resamples.interval(found.beta, resamples.of_means(beta, golds)),
        best_n=best,
        told=told,
    )


def _told(found: GoldCurve, largest: int) -> tuple[float | None, str]:
    """N* where it is within the pools, and what is said of it."""
    top = found.best_n
    if found.alpha <= 0:
        return None, "Gold falls from the first further candidate on: the reward model misleads."
    if top is None:
        return None, f"No over-optimisation up to N = {largest}: the fitted gold only rises."
    if top > largest:
        return None, (
            f"Gold rises up to N = {largest} and its fit bends: the top lies beyond the pools, and"
            " nothing is said about where."
        )
    return top, f"Gold is highest at N* = {top:.1f} and falls beyond: larger N finds what fools."
