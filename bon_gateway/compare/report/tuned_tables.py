"""When a tuned policy pays, as tables. Pure."""

from __future__ import annotations

import math

from bon_gateway.compare.figures.results import Results, Tuned
from bon_gateway.compare.figures.words import number, per_thousand, spread, told
from bon_gateway.compare.report.table import NOTHING, Columns, Table, table


def tuned(results: Results) -> Table:
    columns: Columns[Tuned] = {
        "arm": lambda one: one.arm,
        "training": lambda one: number(one.training_money),
        "matched N": lambda one: _matched(one, max(point.n for point in results.curve)),
        "per 1000": lambda one: spread(per_thousand(one.tuned_cost)),
        "best-of-N per 1000": lambda one: (
            f"N = {one.compared_n}: {spread(per_thousand(one.bon_cost))}"
        ),
        "minus one sample": lambda one: told(one.above_one),
        "break-even, requests": _break_even,
        "days": lambda one: spread(one.days) if one.days else NOTHING,
        "best-of-N a month": lambda one: number(one.bon_month),
        "tuned a month": lambda one: number(one.tuned_month),
    }
    note = (
        f"At {number(results.requests_per_day)} requests a day, in {results.currency}. Retraining"
        " is in the month."
    )
    return table("When a tuned policy pays", note, results.tuned, columns)


def _break_even(tuned: Tuned) -> str:
    return f"none: {tuned.undecided}" if tuned.break_even is None else spread(tuned.break_even)


def _matched(tuned: Tuned, largest: int) -> str:
    found = tuned.matched_n
    value, low, high = (
        f"above {largest}" if math.isinf(n) else f"{n:g}"
        for n in (found.value, found.low, found.high)
    )
    return f"{value} ({low} to {high})"


def sensitivity(results: Results) -> Table:
    known = [one for one in results.tuned if one.sensitivity]
    names = dict.fromkeys(name for one in known for name in one.sensitivity)
    rows = [(name, *(number(one.sensitivity.get(name)) for one in known)) for name in names]
    note = "Requests until it has paid back, one thing changed at a time."
    head = ("if", *(one.arm for one in known))
    return Table("How sure the break-even is", note, head, tuple(rows))
