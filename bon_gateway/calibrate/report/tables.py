"""The tables of a calibration. Pure."""

from __future__ import annotations

from bon_common.selection.spread import RewardSpread
from bon_gateway.calibrate.figures.results import CalibrationResults, NPoint, WayRow
from bon_gateway.compare.figures.words import number, signed, spread
from bon_gateway.compare.report.table import NOTHING, Columns, Table, table
from bon_gateway.compare.statistics import Interval


def tables(results: CalibrationResults) -> list[Table]:
    found = [_ways(results), _curve(results), _rewards(results)]
    return [*found, _scales(results)] if results.scales else found


def _ways(results: CalibrationResults) -> Table:
    columns: Columns[WayRow] = {
        "strategy": lambda row: row.name,
        "parameter": _parameter,
        "tokens": lambda row: number(row.tokens.value),
    }
    if results.with_gold:
        columns["gold"] = lambda row: _known(row.gold)
        columns[f"gold minus best of {results.n}"] = lambda row: _more(row.gold_beside)
        columns["% of the best gold"] = lambda row: _known(row.share)
        columns["gold where it was chosen"] = lambda row: (
            NOTHING if row.parameter is None else number(row.parameter.fitted)
        )
    columns["reward"] = lambda row: spread(row.reward)
    if not results.with_gold:
        columns[f"reward minus best of {results.n}"] = lambda row: _more(row.reward_beside)
    note = (
        f"Means over {results.prompts} prompts with {results.confidence:.0%} intervals. Each fold"
        " of the prompts is measured with the parameter that the other folds choose; the one shown"
        " is chosen on all prompts, in brackets the range over the folds."
    )
    return table("Strategies", note, results.rows, columns)


def _parameter(row: WayRow) -> str:
    found = row.parameter
    if found is None:
        return NOTHING
    return f"{found.key} {found.value:g} ({min(found.of_folds):.4g} to {max(found.of_folds):.4g})"


def _curve(results: CalibrationResults) -> Table:
    columns: Columns[NPoint] = {
        "n": lambda point: f"{point.n}",
        "tokens": lambda point: number(point.tokens.value),
        "reward": lambda point: spread(point.reward),
    }
    if results.with_gold:
        columns["gold"] = lambda point: _known(point.gold)
    found = results.over_optimisation
    note = "Best-of-n, each from all draws of n of the recorded candidates (unbiased)."
    if found is not None:
        note += (
            f" {found.told} Fit of gold: d (alpha - beta d) above a single sample, d the root of"
            f" the KL; alpha {spread(found.alpha)}, beta {spread(found.beta)}."
        )
    return table("Best-of-n", note, results.curve, columns)


def _rewards(results: CalibrationResults) -> Table:
    told = results.spread
    rows: list[tuple[str, str]] = [
        ("standard deviation within prompts", spread(told.within)),
        ("standard deviation between prompts", spread(told.between)),
        ("share of prompts without any spread", spread(told.without_spread)),
        ("different rewards of 100 candidates", spread(told.distinct)),
    ]
    for one in (*results.correlations, *results.partial):
        rows.append((f"correlation of {one.name}", _known(one.correlation)))
        if one.name in SLOPES:
            rows.append((SLOPES[one.name], _known(one.slope)))
    note = "Correlations and slopes are within prompts: of values less their prompt's mean."
    return Table("The reward", note, ("figure", "value"), tuple(rows))


def _scales(results: CalibrationResults) -> Table:
    columns: Columns[tuple[str, RewardSpread]] = {
        "reward": lambda row: row[0],
        "mean": lambda row: f"{row[1].mean:.6g}",
        "std": lambda row: f"{row[1].std:.6g}",
    }
    note = (
        "Over all candidates that might win: mean and std of these rewards where several are joined"
        " (models.<name>.rewards, or an ensemble's members)."
    )
    return table("Scales", note, [*results.scales.items()], columns)


SLOPES = {
    "reward and tokens": "reward for one more token",
    "reward and characters": "reward for one more character",
}


def _known(found: Interval | None) -> str:
    return NOTHING if found is None else spread(found)


def _more(found: Interval | None) -> str:
    return NOTHING if found is None else signed(found)
