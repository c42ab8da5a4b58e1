"""The figures for a spreadsheet. Pure."""

from __future__ import annotations

import csv
import io

from bon_gateway.compare.figures.differences import oracle_of, random_of
from bon_gateway.compare.figures.results import Results
from bon_gateway.compare.statistics import Interval


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
    for choice in results.choices:
        write(random_of(choice.arm), f"quality {results.primary}", choice.random)
        write(oracle_of(choice.arm), f"quality {results.primary}", choice.oracle)
    for one in results.differences:
        write(one.ours, f"quality {results.primary} minus {one.theirs}", one.difference)
    for tuned in results.tuned:
        write(tuned.arm, "matched n", tuned.matched_n)
        write(tuned.arm, "break-even requests", tuned.break_even)
    return out.getvalue()
