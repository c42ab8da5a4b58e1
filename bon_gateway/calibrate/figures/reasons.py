"""What to serve, and why, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from bon_gateway.calibrate.figures.measured import MeasuredWays
from bon_gateway.calibrate.figures.recommend import Servable, cheapest_good
from bon_gateway.calibrate.figures.results import Recommended
from bon_gateway.calibrate.figures.ways import WayColumns, sizes_up_to
from bon_gateway.compare.figures.words import number, signed, spread
from bon_gateway.compare.statistics import Resamples


def recommended(
    measured: MeasuredWays, n: int, tolerance: float, resamples: Resamples
) -> Recommended:
    best = measured.best
    ways = [(f"best_of_n n={k}", best.settings(k), best.columns(k)) for k in sizes_up_to(n)]
    ways += [
        (measured.name(way), way.tunable.settings(way.value), way.held_out)
        for way in measured.tuned
        # A hedge that does not hedge is best-of-n, which is there at every n.
        if way.tunable is not best and way.value != way.tunable.plain
    ]
    top = max((columns for _, _, columns in ways), key=lambda one: fmean(one.worths))
    servable = [
        Servable(
            name,
            settings,
            tokens=fmean(own.tokens),
            worth=fmean(own.worths),
            below_best=resamples.mean(_minus(top.worths, own.worths)),
        )
        for name, settings, own in ways
    ]
    # The first way is best-of-1.
    chosen = cheapest_good(servable, servable[0], tolerance)
    own = next(columns for name, _, columns in ways if name == chosen.name)
    because = " ".join(_reasons(chosen, own, servable, measured, n, tolerance, resamples))
    return Recommended(chosen.name, chosen.settings, because)


def _reasons(
    chosen: Servable,
    own: WayColumns,
    servable: Sequence[Servable],
    measured: MeasuredWays,
    n: int,
    tolerance: float,
    resamples: Resamples,
) -> Iterator[str]:
    base, single = measured.best.columns(n), measured.best.columns(1)
    what = "reward" if own.golds is None else "gold"
    worth, share = resamples.mean(own.worths), 100 * chosen.tokens / fmean(base.tokens)
    yield f"Its {what} is {spread(worth)}; a request takes {number(chosen.tokens)} tokens."
    if own is not base:
        more = signed(resamples.mean(_minus(own.worths, base.worths)))
        yield f"That is {share:.0f} % of best-of-{n}'s tokens, at {more} in {what}."
    if own is not single:
        more = signed(resamples.mean(_minus(own.worths, single.worths)))
        yield f"Over a single sample it gains {more}."
    top = max(servable, key=lambda way: way.worth)
    if top is chosen:
        yield f"No other strategy has more {what}, and none that is as good is cheaper."
        return
    if own is single:
        more = signed(chosen.below_best)
        yield f"The best, {top.name}, has {more} more: it is not decided that it is better."
        return
    yield (
        f"The best, {top.name}, has {signed(chosen.below_best)} more for {number(top.tokens)}"
        f" tokens: within the {tolerance:.0%} of its gain that may be lost."
    )


def _minus(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [one - other for one, other in zip(ours, theirs, strict=True)]
