"""The figures as rows of text, for the page, the terminal and CSV. Pure."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from bon_gateway.compare.figures.results import Arm, Latency, Results, Tuned
from bon_gateway.compare.figures.words import number, per_thousand, spread
from bon_gateway.compare.statistics import Interval

T = TypeVar("T")
Columns = dict[str, Callable[[T], str]]
"""By heading, the cell of a row's subject."""


@dataclass(frozen=True)
class Table:
    title: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def _table(title: str, note: str, subjects: Iterable[T], columns: Columns[T]) -> Table:
    rows = tuple(tuple(cell(one) for cell in columns.values()) for one in subjects)
    return Table(title, note, tuple(columns), rows)


def tables(results: Results) -> list[Table]:
    """The tables that have rows."""
    made = [
        _quality(results),
        _latency(results),
        _spent(results),
        _curve(results),
        _tuned(results),
        _sensitivity(results),
    ]
    return [table for table in made if table.rows]


def overview(results: Results) -> Table:
    """One line for each arm, for the terminal."""

    def latency(level: str) -> Callable[[Arm], str]:
        return lambda arm: number(arm.latency[0].quantiles[level].value if arm.latency else None)

    columns: Columns[Arm] = {
        "arm": lambda arm: arm.name,
        "N": lambda arm: f"{arm.n}",
        "answered": lambda arm: f"{arm.answered}/{arm.asked}",
        "quality": lambda arm: spread(arm.quality[results.primary]),
        "p50 ms": latency("0.5"),
        "p95 ms": latency("0.95"),
        "tokens": lambda arm: number(arm.tokens.winner + arm.tokens.discarded),
        f"{results.currency} per 1000": lambda arm: number(
            1000 * arm.cost.value if arm.cost else None
        ),
    }
    if results.target:
        columns["highest rate/s"] = lambda arm: number(arm.highest_rate)
    return _table("Arms", "", results.arms, columns)


def as_text(table: Table) -> str:
    """Aligned columns."""
    lines = [table.head, *table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def as_csv(results: Results) -> str:
    """One line for each arm and figure: arm, figure, value, low, high."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("arm", "figure", "value", "low", "high"))

    def write(arm: str, figure: str, found: Interval | None) -> None:
        if found is not None:
            writer.writerow((arm, figure, found.value, found.low, found.high))

    for arm in results.arms:
        for name, quality in arm.quality.items():
            write(arm.name, f"quality {name}", quality)
        write(arm.name, f"cost {results.currency}", arm.cost)
        for latency in arm.latency:
            for level, interval in latency.quantiles.items():
                write(arm.name, f"latency {latency.phase} {level} ms", interval)
        for figure, value in (
            ("asked", arm.asked),
            ("answered", arm.answered),
            ("prompt tokens", arm.tokens.prompt),
            ("winner tokens", arm.tokens.winner),
            ("discarded tokens", arm.tokens.discarded),
            ("scored tokens", arm.tokens.scored),
        ):
            writer.writerow((arm.name, figure, value, "", ""))
    for tuned in results.tuned:
        write(tuned.arm, "matched n", tuned.matched_n)
        write(tuned.arm, "break-even requests", tuned.break_even)
    return out.getvalue()


def _failed(arm: Arm) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in arm.failures.items()) or "none"


def _quality(results: Results) -> Table:
    def quality(scorer: str) -> Callable[[Arm], str]:
        return lambda arm: spread(arm.quality[scorer])

    columns: Columns[Arm] = {
        "arm": lambda arm: arm.name,
        "N": lambda arm: f"{arm.n}",
        "answered": lambda arm: f"{arm.answered} of {arm.asked}",
        "failed": _failed,
        **{f"quality: {scorer}": quality(scorer) for scorer in results.arms[0].quality},
        f"wins against {results.against}": lambda arm: spread(arm.win_rate),
    }
    if any(arm.judged for arm in results.arms):
        columns["wins, by the judge"] = lambda arm: spread(arm.judged)
    note = (
        f"{results.primary} decides. Intervals ({results.confidence:.0%}) are over prompts. Wins:"
        " ties count a half."
    )
    return _table("Quality", note, results.arms, columns)


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
    return _table("Latency", note, subjects, columns)


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
    return _table("Tokens and cost", note, results.arms, columns)


def _curve(results: Results) -> Table:
    rows = [
        (f"{p.n}", spread(p.quality), number(None if p.cost is None else 1000 * p.cost))
        for p in results.curve
    ]
    note = f"Best-of-N of the base policy, from {results.curve_source}."
    head = ("N", "quality", f"{results.currency} per 1000")
    return Table("What N buys", note, head, tuple(rows))


def _tuned(results: Results) -> Table:
    columns: Columns[Tuned] = {
        "arm": lambda one: one.arm,
        "training": lambda one: number(one.training_money),
        "matched N": lambda one: _matched(one, max(point.n for point in results.curve)),
        "per 1000": lambda one: spread(per_thousand(one.tuned_cost)),
        "best-of-N per 1000": lambda one: (
            f"N = {one.compared_n}: {spread(per_thousand(one.bon_cost))}"
        ),
        "break-even, requests": lambda one: spread(one.break_even),
        "days": lambda one: spread(one.days),
        "best-of-N a month": lambda one: number(one.bon_month),
        "tuned a month": lambda one: number(one.tuned_month),
    }
    note = (
        f"At {number(results.requests_per_day)} requests a day, in {results.currency}. Retraining"
        " is in the month."
    )
    return _table("When a tuned policy pays", note, results.tuned, columns)


def _matched(tuned: Tuned, largest: int) -> str:
    found = tuned.matched_n
    value, low, high = (
        f"above {largest}" if math.isinf(n) else f"{n:g}"
        for n in (found.value, found.low, found.high)
    )
    return f"{value} ({low} to {high})"


def _sensitivity(results: Results) -> Table:
    names = dict.fromkeys(name for tuned in results.tuned for name in tuned.sensitivity)
    rows = [
        (name, *(number(tuned.sensitivity.get(name)) for tuned in results.tuned)) for name in names
    ]
    note = "Requests until it has paid back, one thing changed at a time."
    head = ("if", *(tuned.arm for tuned in results.tuned))
    return Table("How sure the break-even is", note, head, tuple(rows))
