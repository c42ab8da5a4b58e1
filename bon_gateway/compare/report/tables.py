"""The figures as rows of text, for the page, the terminal and CSV. Pure."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from bon_gateway.compare.figures.results import Arm, Results, Tuned
from bon_gateway.compare.figures.words import number, per_thousand, spread


@dataclass(frozen=True)
class Table:
    title: str
    note: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(results: Results) -> list[Table]:
    """Those that have rows."""
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
    """One line an arm, for the terminal."""
    head = (
        *("arm", "N", "answered", "quality", "p50 ms", "p95 ms", "tokens"),
        f"{results.currency} per 1000",
        *(("highest rate/s",) if results.target else ()),
    )
    rows = []
    for arm in results.arms:
        latency = arm.latency[0].quantiles if arm.latency else {}
        rows.append(
            (
                arm.name,
                f"{arm.n}",
                f"{arm.answered}/{arm.asked}",
                spread(arm.quality[results.primary]),
                *(number(latency[q].value if q in latency else None) for q in ("0.5", "0.95")),
                number(arm.tokens.winner + arm.tokens.discarded),
                number(1000 * arm.cost.value if arm.cost else None),
                *((number(arm.highest_rate),) if results.target else ()),
            )
        )
    return Table("Arms", "", head, tuple(rows))


def as_text(table: Table) -> str:
    """Aligned columns."""
    lines = [table.head, *table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def as_csv(results: Results) -> str:
    """One line an arm and figure: arm, figure, value, low, high."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("arm", "figure", "value", "low", "high"))
    for arm in results.arms:
        for name, quality in arm.quality.items():
            if quality is not None:
                row = (quality.value, quality.low, quality.high)
                writer.writerow((arm.name, f"quality {name}", *row))
        if arm.cost is not None:
            row = (arm.cost.value, arm.cost.low, arm.cost.high)
            writer.writerow((arm.name, f"cost {results.currency}", *row))
        for latency in arm.latency:
            for level, interval in latency.quantiles.items():
                figure = f"latency {latency.phase} {level} ms"
                row = (interval.value, interval.low, interval.high)
                writer.writerow((arm.name, figure, *row))
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
        for figure, interval in (
            ("matched n", tuned.matched_n),
            ("break-even requests", tuned.break_even),
        ):
            writer.writerow((tuned.arm, figure, interval.value, interval.low, interval.high))
    return out.getvalue()


def _failed(arm: Arm) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in arm.failures.items()) or "none"


def _quality(results: Results) -> Table:
    scorers = list(results.arms[0].quality)
    judged = any(arm.judged for arm in results.arms)
    head = ["arm", "N", "answered", "failed", *(f"quality: {scorer}" for scorer in scorers)]
    head.append(f"wins against {results.against}")
    if judged:
        head.append("wins, by the judge")
    rows = []
    for arm in results.arms:
        row = [arm.name, f"{arm.n}", f"{arm.answered} of {arm.asked}", _failed(arm)]
        row += [spread(arm.quality[scorer]) for scorer in scorers]
        row.append(spread(arm.win_rate))
        if judged:
            row.append(spread(arm.judged))
        rows.append(tuple(row))
    note = (
        f"{results.primary} decides. Intervals ({results.confidence:.0%}) are over prompts. Wins:"
        " ties count a half."
    )
    return Table("Quality", note, tuple(head), tuple(rows))


def _latency(results: Results) -> Table:
    streamed = any(one.first_token for arm in results.arms for one in arm.latency)
    targeted = results.target is not None
    head = ["arm", "load", "p50", "p95", "p99", "p95 if N singles", "gateway", "engine"]
    head += ["first token p50"] if streamed else []
    head += ["highest rate"] if targeted else []
    rows = []
    for arm in results.arms:
        for one in arm.latency:
            row = [arm.name, one.phase]
            row += [spread(one.quantiles[level]) for level in ("0.5", "0.95", "0.99")]
            row.append(_shift(one.shift))
            row += [number(arm.overhead_ms), number(arm.engine_ms)]
            if streamed:
                row.append(spread(one.first_token["0.5"] if one.first_token else None))
            if targeted:
                row.append(number(arm.highest_rate))
            rows.append(tuple(row))
    note = (
        "Milliseconds from the intended start. 'If N singles': the slowest of N independent single"
        " answers. Gateway and engine: medians."
    )
    if results.target is not None:
        note += (
            f" Highest rate: requests a second at which the {results.target['quantile']:g} quantile"
            f" is within {results.target['latency_ms']:g} ms."
        )
    return Table("Latency", note, tuple(head), tuple(rows))


def _shift(shift: object) -> str:
    if not isinstance(shift, dict):
        return "n/a"
    value = shift["0.95"]
    return "too few singles" if value == float("inf") else number(value)


def _spent(results: Results) -> Table:
    at_rate = any(arm.cost_at_rate is not None for arm in results.arms)
    money = f"{results.currency} per 1000"
    head = ["arm", "prompt", "winner", "discarded", "scored", money]
    head += [f"{money}, at the highest rate"] if at_rate else []
    rows = []
    for arm in results.arms:
        spent = arm.tokens
        row = [arm.name]
        row += [number(n) for n in (spent.prompt, spent.winner, spent.discarded, spent.scored)]
        row.append(spread(per_thousand(arm.cost)))
        if at_rate:
            row.append(number(None if arm.cost_at_rate is None else 1000 * arm.cost_at_rate))
        rows.append(tuple(row))
    note = "Mean tokens of an answered request; money for a thousand."
    return Table("Tokens and cost", note, tuple(head), tuple(rows))


def _curve(results: Results) -> Table:
    rows = [
        (f"{p.n}", spread(p.quality), number(None if p.cost is None else 1000 * p.cost))
        for p in results.curve
    ]
    note = f"Best-of-N of the base policy, from {results.curve_source}."
    head = ("N", "quality", f"{results.currency} per 1000")
    return Table("What N buys", note, head, tuple(rows))


def _tuned(results: Results) -> Table:
    head = (
        "arm", "training", "matched N", "per 1000", "best-of-N per 1000", "break-even, requests",
        "days", "best-of-N a month", "tuned a month",
    )  # fmt: skip
    rows = [
        (
            one.arm,
            number(one.training_money),
            _matched(one, results),
            spread(per_thousand(one.tuned_cost)),
            f"N = {one.compared_n}: {spread(per_thousand(one.bon_cost))}",
            spread(one.break_even),
            spread(one.days),
            number(one.bon_month),
            number(one.tuned_month),
        )
        for one in results.tuned
    ]
    note = (
        f"At {number(results.requests_per_day)} requests a day, in {results.currency}. Retraining"
        " is in the month."
    )
    return Table("When a tuned policy pays", note, head, tuple(rows))


def _matched(tuned: Tuned, results: Results) -> str:
    matched, largest = tuned.matched_n, max(point.n for point in results.curve)
    ends = [
        f"above {largest}" if math.isinf(n) else f"{n:g}" for n in (matched.value, matched.high)
    ]
    low = f"above {largest}" if math.isinf(matched.low) else f"{matched.low:g}"
    return f"{ends[0]} ({low} to {ends[1]})"


def _sensitivity(results: Results) -> Table:
    names: Sequence[str] = list(dict.fromkeys(w for t in results.tuned for w in t.sensitivity))
    rows = tuple(
        (name, *(_requests(tuned.sensitivity, name) for tuned in results.tuned)) for name in names
    )
    head = ("if", *(tuned.arm for tuned in results.tuned))
    return Table(
        "How sure the break-even is",
        "Requests until it has paid back, one thing changed at a time.",
        head,
        rows,
    )


def _requests(sensitivity: object, name: str) -> str:
    assert isinstance(sensitivity, dict)
    return number(sensitivity[name]) if name in sensitivity else "n/a"
