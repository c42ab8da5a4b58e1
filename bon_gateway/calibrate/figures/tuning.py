"""Chooses a strategy's parameter on some of the prompts and measures it on the others. Pure.

Each fold of the prompts is measured with the parameter that all other folds choose. So every prompt
counts once, and none is judged by a parameter that was chosen on it. The parameter to serve is
chosen on all prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bon_common.selection.calibration.hedge import hedge_root
from bon_gateway.calibrate.figures.ways import Tunable, WayColumns
from bon_gateway.calibrate.pools import CalibrationPrompts

Choose = Callable[[Tunable, Sequence[int]], float]
"""The parameter for the prompts at these places."""

PRECISE = 1e-4
"""Of the value: three digits are served."""
ROUNDING = 1e-12
"""Means that differ less are equal but for rounding."""


@dataclass(frozen=True)
class TunedWay:
    tunable: Tunable
    value: float
    """Chosen on all prompts."""
    of_folds: tuple[float, ...]
    """For each fold the value that the other folds chose."""
    held_out: WayColumns
    """At each prompt, by the value of its fold."""
    fitted: float
    """Mean worth of ``value`` at the very prompts on which it was chosen: too good, as far as it is
    fitted to chance."""


def cross_fitted(tunable: Tunable, prompts: CalibrationPrompts, choose: Choose) -> TunedWay:
    every = range(len(prompts.folds))
    chosen = [
        choose(tunable, [place for place in every if prompts.folds[place] != fold])
        for fold in range(max(prompts.folds) + 1)
    ]
    sources = [tunable.columns(chosen[fold]) for fold in prompts.folds]

    def mixed(column: Callable[[WayColumns], Sequence[float]]) -> list[float]:
        return [column(source)[place] for place, source in enumerate(sources)]

    value = choose(tunable, every)
    return TunedWay(
        tunable,
        value=value,
        of_folds=tuple(chosen),
        held_out=WayColumns(
            golds=mixed(lambda one: one.golds or ()) if prompts.with_gold else None,
            rewards=mixed(lambda one: one.rewards),
            drawn=mixed(lambda one: one.drawn),
            tokens=mixed(lambda one: one.tokens),
        ),
        fitted=tunable.columns(value).mean_worth(every),
    )


def highest(tunable: Tunable, places: Sequence[int]) -> float:
    """The value at which the mean worth is highest: the best of the values to try, and then the
    root of the slope between its neighbours, to three digits."""
    values = tunable.values
    best = 0
    worths = [tunable.columns(value).mean_worth(places) for value in values]
    for place, worth in enumerate(worths):
        if worth > worths[best] + ROUNDING:
            best = place
    if not 0 < best < len(values) - 1:
        return values[best]
    low, high = values[best - 1], values[best + 1]
    rises, falls = tunable.slope(low, places), tunable.slope(high, places)
    if rises is None or falls is None or rises < 0 or falls > 0:
        return values[best]
    root = hedge_root(lambda value: tunable.slope(value, places) or 0.0, low, high, PRECISE)
    refined = float(f"{root:.3g}")
    better = tunable.columns(refined).mean_worth(places) > worths[best]
    return refined if better else values[best]


def cheapest_as_good_as(curve: Sequence[WayColumns], tolerance: float) -> Choose:
    """The value with the fewest tokens that loses at most the share ``tolerance`` of what the best
    of ``curve`` gains over its first, a single sample; the best value if none is as good."""

    def choose(tunable: Tunable, places: Sequence[int]) -> float:
        worths = [own.mean_worth(places) for own in curve]
        wanted = max(worths) - tolerance * (max(worths) - worths[0]) - ROUNDING
        columns = {value: tunable.columns(value) for value in tunable.values}
        enough = [v for v, own in columns.items() if own.mean_worth(places) >= wanted]
        if not enough:
            return highest(tunable, places)
        return min(enough, key=lambda value: columns[value].mean_tokens(places))

    return choose
