"""Quality as tables: each arm with random choice and the oracle beside it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from bon_gateway.compare.figures.differences import oracle_of, random_of
from bon_gateway.compare.figures.results import Arm, Choice, CurvePoint, Results
from bon_gateway.compare.figures.words import number, spread, told
from bon_gateway.compare.report.table import NOTHING, Columns, Table, table
from bon_gateway.compare.statistics import Interval


@dataclass(frozen=True)
class QualityRow:
    """An arm, or another choice among its candidates."""

    name: str
    arm: Arm
    choice: Interval | None = None
    """None for the arm itself."""


def quality_rows(results: Results) -> Iterator[QualityRow]:
    """Each arm with random choice and the oracle under it."""
    choices = {choice.arm: choice for choice in results.choices}
    for arm in results.arms:
        yield QualityRow(arm.name, arm)
        choice: Choice | None = choices.get(arm.name)
        if choice is not None:
            yield QualityRow(random_of(arm.name), arm, choice.random)
            yield QualityRow(oracle_of(arm.name), arm, choice.oracle)


def policy(arm: Arm) -> str:
    """Which policy answers, in words."""
    if arm.same_as_base is not None:
        return f"{arm.training}, which is the base policy"
    return (arm.training or "base") + (", greedy" if arm.greedy else "")


def overview(results: Results) -> Table:
    """For the terminal."""

    def latency(level: str) -> Callable[[Arm], str]:
        return lambda arm: number(arm.latency[0].quantiles[level].value if arm.latency else None)

    def of_arm(cell: Callable[[Arm], str]) -> Callable[[QualityRow], str]:
        return lambda row: cell(row.arm) if row.choice is None else ""

    columns: Columns[QualityRow] = {
        "arm": lambda row: row.name,
        "N": lambda row: f"{row.arm.n}",
        "answered": of_arm(lambda arm: f"{arm.answered}/{arm.asked}"),
        "quality": lambda row: spread(row.choice or row.arm.quality[results.primary]),
        "p50 ms": of_arm(latency("0.5")),
        "p95 ms": of_arm(latency("0.95")),
        "tokens": of_arm(lambda arm: number(arm.tokens.winner + arm.tokens.discarded)),
        f"{results.currency} per 1000": of_arm(
            lambda arm: number(1000 * arm.cost.value if arm.cost else None)
        ),
    }
    if results.target:
        columns["highest rate/s"] = of_arm(lambda arm: number(arm.highest_rate))
    return table("Arms", "", quality_rows(results), columns)


def _failed(arm: Arm) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in arm.failures.items()) or "none"


def quality(results: Results) -> Table:
    def by(scorer: str) -> Callable[[QualityRow], str]:
        def cell(row: QualityRow) -> str:
            if row.choice is None:
                return spread(row.arm.quality[scorer])
            return spread(row.choice) if scorer == results.primary else NOTHING

        return cell

    def of_arm(cell: Callable[[Arm], str]) -> Callable[[QualityRow], str]:
        return lambda row: cell(row.arm) if row.choice is None else NOTHING

    columns: Columns[QualityRow] = {
        "answers of": lambda row: row.name,
        "policy": lambda row: policy(row.arm),
        "N": lambda row: f"{row.arm.n}",
        "answered": of_arm(lambda arm: f"{arm.answered} of {arm.asked}"),
        "failed": of_arm(_failed),
        **{f"quality: {scorer}": by(scorer) for scorer in results.arms[0].quality},
        f"wins against {results.against}": of_arm(
            lambda arm: NOTHING if arm.name == results.against else spread(arm.win_rate)
        ),
    }
    if any(arm.judged for arm in results.arms):
        columns["wins, by the judge"] = of_arm(lambda arm: spread(arm.judged))
    note = (
        f"{results.primary} decides. Intervals ({results.confidence:.0%}) are over prompts. Random"
        " choice and oracle choose among the same candidates: blindly, and by the score itself."
        " Wins: ties count a half."
    )
    rows = list(quality_rows(results))
    under = frozenset(place for place, row in enumerate(rows) if row.choice is not None)
    return replace(table("Quality", note, rows, columns), under=under)


def paired(results: Results) -> Table:
    """One line for each arm: what it has more than each thing it is compared with."""
    known = {(one.ours, one.theirs): told(one) for one in results.differences}
    greedy = [arm.name for arm in results.arms if arm.greedy]
    ways = {choice.arm: choice.way for choice in results.choices}

    def less(theirs: str) -> Callable[[Arm], str]:
        return lambda arm: known.get((arm.name, theirs), NOTHING)

    def way(arm: Arm) -> str:
        share = ways.get(arm.name)
        return NOTHING if share is None else spread(share.map(lambda part: 100 * part))

    columns: Columns[Arm] = {
        "arm": lambda arm: arm.name,
        f"minus {results.against}": less(results.against),
        **{f"minus {name}": less(name) for name in greedy},
        "minus random choice": lambda arm: known.get((arm.name, random_of(arm.name)), NOTHING),
        "oracle minus arm": lambda arm: known.get((oracle_of(arm.name), arm.name), NOTHING),
        "% of the way from greedy to oracle": way,
    }
    note = (
        f"By {results.primary}, prompt by prompt, with intervals ({results.confidence:.0%}). Not"
        " decided: the interval holds zero. The prompts that would do are by the normal"
        " approximation, if the difference and its spread stay as observed."
    )
    subjects = [arm for arm in results.arms if any(ours == arm.name for ours, _ in known)]
    return table("Differences at the same prompts", note, subjects, columns)


def curve(results: Results) -> Table:
    """Best-of-N at every N, with greedy, random choice and the oracle beside it."""
    columns: Columns[CurvePoint] = {
        # With its name, because on a narrow screen it is the head of a card.
        "N": lambda point: f"N = {point.n}",
        "best-of-N": lambda point: spread(point.quality),
    }
    if any(point.random for point in results.curve):
        columns["random choice"] = lambda point: spread(point.random)
        columns["oracle"] = lambda point: spread(point.oracle)
    if any(point.above_greedy for point in results.curve):
        columns["best-of-N minus greedy"] = lambda point: (
            NOTHING if point.above_greedy is None else told(point.above_greedy)
        )
    columns[f"{results.currency} per 1000"] = lambda point: number(
        None if point.cost is None else 1000 * point.cost
    )
    note = f"Best-of-N of the base policy, from {results.curve_source}."
    return table("What N buys", note, results.curve, columns)
