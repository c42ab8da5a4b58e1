"""The tables of a report: which there are, and those of latency and cost. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from bon_gateway.compare.figures.results import Arm, Latency, Results
from bon_gateway.compare.figures.words import number, per_thousand, spread
from bon_gateway.compare.report.quality_tables import curve, paired, quality
from bon_gateway.compare.report.table import Columns, Table, table
from bon_gateway.compare.report.tuned_tables import sensitivity, tuned


def quality_tables(results: Results) -> list[Table]:
    """Those that have rows, to stand before the examples."""
    return _with_rows(quality(results), paired(results), curve(results))


def other_tables(results: Results) -> list[Table]:
    """Those that have rows, to stand after the examples."""
    return _with_rows(tuned(results), sensitivity(results), _latency(results), _spent(results))


def _with_rows(*tables: Table) -> list[Table]:
    return [one for one in tables if one.rows]


def _latency(results: Results) -> Table:
    def quantile(level: str) -> Callable[[tuple[Arm, Latency]], str]:
        return lambda one: spread(one[1].quantiles[level])

    subjects = [(arm, latency) for arm in results.arms for latency in arm.latency]
    columns: Columns[tuple[Arm, Latency]] = {
        "arm": lambda one: one[0].name,
        "load": lambda one: one[1].phase,
        "p50": quantile("0.5"),
        "p95": quantile("0.95"),
        "p99": quantile("0.99"),
        "p95 if N singles": lambda one: _shift(one[1].shift),
        "gateway": lambda one: number(one[0].overhead_ms),
        "engine": lambda one: number(one[0].engine_ms),
    }
    if any(latency.first_token for _, latency in subjects):
        columns["first token p50"] = lambda one: spread((one[1].first_token or {}).get("0.5"))
    note = (
        "Milliseconds from the intended start. 'If N singles': the slowest of N independent single"
        " answers. Gateway and engine: medians."
    )
    if results.target is not None:
        columns["highest rate"] = lambda one: number(one[0].highest_rate)
        note += (
            f" Highest rate: requests a second at which the {results.target['quantile']:g} quantile"
            f" is within {results.target['latency_ms']:g} ms."
        )
    return table("Latency", note, subjects, columns)


def _shift(shift: Mapping[str, float] | None) -> str:
    if shift is None:
        return "n/a"
    return "too few singles" if math.isinf(shift["0.95"]) else number(shift["0.95"])


def _spent(results: Results) -> Table:
    money = f"{results.currency} per 1000"
    columns: Columns[Arm] = {
        "arm": lambda arm: arm.name,
        "prompt": lambda arm: number(arm.tokens.prompt),
        "winner": lambda arm: number(arm.tokens.winner),
        "discarded": lambda arm: number(arm.tokens.discarded),
        "scored": lambda arm: number(arm.tokens.scored),
        money: lambda arm: spread(per_thousand(arm.cost)),
    }
    if any(arm.cost_at_rate is not None for arm in results.arms):
        columns[f"{money}, at the highest rate"] = lambda arm: number(
            None if arm.cost_at_rate is None else 1000 * arm.cost_at_rate
        )
    note = "Mean tokens of an answered request; money for a thousand."
    return table("Tokens and cost", note, results.arms, columns)
