"""The part of a page that says how good a reward model is on held-out pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from trainers.base.intervals import wilson
from trainers.base.report import Part
from trainers.rewards.accuracy import GapShare, ScoredPair, accuracy, by_gap
from trainers.rewards.calibration import Calibration

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EDGES = (0.0, 0.5, 1.0, 2.0, 3.0)
BINS = 10


def quality_figures(scored: Sequence[ScoredPair]) -> dict[str, float]:
    """The accuracy with its 95 % interval, and the calibration error."""
    share = accuracy(scored)
    low, high = wilson(share, len(scored))
    return {
        "accuracy on held-out pairs": share,
        "accuracy, 95 % interval from": low,
        "accuracy, 95 % interval to": high,
        "held-out pairs": len(scored),
        "calibration error": Calibration.of(_differences(scored), BINS).ece,
    }


def quality_part(scored: Sequence[ScoredPair]) -> Part:
    """Accuracy by margin where margins are known, and the calibration curve."""
    shares = by_gap(scored, EDGES)
    calibration = Calibration.of(_differences(scored), BINS)
    lines = []
    if shares:
        lines = ["| margin | accuracy | 95 % interval | pairs |", "|---|---|---|---|"]
        lines += [_row(one) for one in shares]
    return Part("Held-out pairs", lines, quality_pictures(shares, calibration))


def quality_pictures(
    shares: Sequence[GapShare], calibration: Calibration | None
) -> dict[str, Callable[[Figure], None]]:
    """Those that the figures allow, by name."""
    found: dict[str, Callable[[Figure], None]] = {}
    if shares:
        found["accuracy"] = partial(_draw_accuracy, shares)
    if calibration is not None:
        found["calibration"] = partial(_draw_calibration, calibration)
    return found


def _differences(scored: Sequence[ScoredPair]) -> list[float]:
    return [pair.chosen - pair.rejected for pair in scored]


def _row(one: GapShare) -> str:
    low, high = wilson(one.accuracy, one.pairs)
    margin = f"{one.low:g} and more" if one.high is None else f"{one.low:g} to {one.high:g}"
    return f"| {margin} | {one.accuracy:.3f} | {low:.3f} to {high:.3f} | {one.pairs} |"


def _draw_accuracy(shares: Sequence[GapShare], figure: Figure) -> None:
    from trainers.base.plots import accuracy_bars

    axes = figure.subplots()
    ends = [(one.accuracy, *wilson(one.accuracy, one.pairs)) for one in shares]
    errors = [[share - low for share, low, _ in ends], [high - share for share, _, high in ends]]
    ranges = [(one.low, one.high) for one in shares]
    accuracy_bars(axes, ranges, [one.accuracy for one in shares], errors)
    axes.set(ylim=(0.0, 1.05), xlabel="margin of the pair")


def _draw_calibration(calibration: Calibration, figure: Figure) -> None:
    from trainers.base.plots import calibration_lines

    axes = figure.subplots()
    points = [(one.predicted, one.observed) for one in calibration.bins]
    calibration_lines(axes, [points])
    axes.set(xlim=(0.45, 1.02), ylim=(0.0, 1.05), ylabel="share of pairs")
