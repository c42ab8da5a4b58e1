"""The pictures of a replay: what is gained against what is paid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bon_gateway.compare.figures.words import number, spread
from bon_gateway.compare.report.axes import legend_below, log_or_linear, point
from bon_gateway.compare.report.colours import SOFT
from bon_gateway.compare.report.picture import Picture
from bon_gateway.compare.statistics import Interval
from bon_gateway.replay.results import ReplayResults, ReplayRow
from bon_gateway.replay.settings import ORACLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Axis:
    label: str
    of: Callable[[ReplayRow], Interval | None]
    by_factors: bool = False
    """Whether factors between its values mean something: rewards have no zero of their own."""


def pictures(results: ReplayResults) -> Mapping[str, Picture]:
    """By name of the file."""
    gold = any(row.gold for row in results.rows)
    worth = Axis("gold", lambda row: row.gold) if gold else Axis("reward", lambda row: row.reward)
    if not any(worth.of(row) for row in results.rows):
        return {}
    tokens = Axis("tokens a request", lambda row: row.tokens, by_factors=True)
    latency = Axis("simulated ms a request", lambda row: row.latency, by_factors=True)
    note = (
        "Up and to the left is better. Bars are intervals of the means: where they overlap, the"
        " differences at the same prompts decide."
    )
    made = {
        "by-tokens": Picture("Tokens", note, partial(_scatter, results.rows, tokens, worth)),
        "by-latency": Picture("Latency", note, partial(_scatter, results.rows, latency, worth)),
    }
    if gold and any(row.reward for row in results.rows):
        reward = Axis("reward", lambda row: row.reward)
        made["gold-by-reward"] = Picture(
            "Gold against reward",
            "A strategy with more reward and no more gold has found what fools the reward model.",
            partial(_scatter, results.rows, reward, worth),
        )
    return made


def _scatter(rows: Sequence[ReplayRow], across: Axis, up: Axis, figure: Figure) -> str:
    axes = figure.subplots()
    told = []
    places: list[float] = []
    for place, row in enumerate(rows):
        x, y = across.of(row), up.of(row)
        if x is None or y is None:
            continue
        if row.name == ORACLE:
            # A line, because it is a bound and no way to answer.
            axes.axhline(y.value, linestyle=":", color=SOFT[0], label=ORACLE)
        else:
            places.append(x.value)
            point(axes, x.value, y, place, row.name, across=x)
        told.append(f"{row.name} {spread(y)} at {number(x.value)}")
    axes.set(xlabel=across.label, ylabel=up.label)
    if across.by_factors:
        log_or_linear(axes, places)
    legend_below(figure)
    return f"{up.label.capitalize()} against {across.label}, with intervals: {'; '.join(told)}."
