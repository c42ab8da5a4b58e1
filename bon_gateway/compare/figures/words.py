"""The verdict in words, with its reasons and its uncertainty. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bon_gateway.compare.figures.results import Arm, CurvePoint, Results, Tuned
from bon_gateway.compare.settings import SELECTION
from bon_gateway.compare.statistics import Interval


def number(value: float | None) -> str:
    """Three significant digits, in words where it is infinite or unknown."""
    if value is None:
        return "n/a"
    if math.isinf(value):
        return "never" if value > 0 else "-∞"
    if value != 0 and abs(value) < 0.001:
        return f"{value:.2e}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def spread(interval: Interval | None) -> str:
    """Value and interval."""
    if interval is None:
        return "n/a"
    return f"{number(interval.value)} ({_bound(interval.low)} to {_bound(interval.high)})"


def per_thousand(interval: Interval | None) -> Interval | None:
    """Money for a thousand requests, which is easier to read than money for one."""
    return None if interval is None else interval.map(lambda money: 1000 * money)


def _bound(value: float) -> str:
    return ("∞" if value > 0 else "-∞") if math.isinf(value) else number(value)


def warnings(arms: Sequence[Arm], primary: str, *, complete: bool) -> list[str]:
    """What a reader must know before the figures."""
    found = []
    if not complete:
        found.append("The run was stopped early: the figures cover what was measured until then.")
    if primary == SELECTION:
        found.append(
            "Quality is the reward that best-of-N itself chooses by: it flatters best-of-N, the"
            " more the larger N is. A held-out scorer is fairer."
        )
    for arm in arms:
        if arm.failures:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(arm.failures.items()))
            found.append(
                f"{arm.name}: {sum(arm.failures.values())} of {arm.asked} requests failed"
                f" ({kinds}). They count as endless in latencies and as the worst answer of their"
                " prompt in quality."
            )
        if arm.quality[primary] is None:
            found.append(f"{arm.name} has no score by {primary}: its quality is not known.")
        elif arm.unscored:
            found.append(
                f"{arm.name}: {arm.unscored} of {arm.answered} answers have no score by {primary}"
                " and are left out of its quality."
            )
        if arm.unmetered:
            found.append(
                f"{arm.name}: {arm.unmetered} of {arm.answered} answers have no usage and are left"
                " out of its tokens and cost."
            )
        for reason, count in sorted(arm.degraded.items()):
            found.append(f"{arm.name}: {count} answers are degraded ({reason}).")
    return found


def verdict(results: Results) -> list[str]:
    """A few sentences."""
    told = [_best(results)]
    if not any(arm.training for arm in results.arms):
        told.append("No tuned policy is among the arms, so there is nothing to switch to.")
    elif not results.tuned:
        told.append(
            "Without prices, and scores and usage of the tuned policies, there is no break-even."
        )
    told += [_tuned(one, results) for one in results.tuned]
    return told


def _best(results: Results) -> str:
    scored = [
        (arm, quality)
        for arm in results.arms
        if (quality := arm.quality[results.primary]) is not None
    ]
    if not scored:
        return "No arm has a score: nothing can be said of quality."
    best, quality = max(scored, key=lambda both: both[1].value)
    text = f"The best answers are those of {best.name}: quality {spread(quality)}"
    text += f" by {results.primary}."
    close = [arm.name for arm, other in scored if arm is not best and other.high >= quality.low]
    if close:
        text += f" Its interval overlaps with {', '.join(close)}."
    if best.cost is not None:
        day = best.cost.map(lambda money: money * results.requests_per_day)
        text += (
            f" At {number(results.requests_per_day)} requests a day it costs {spread(day)}"
            f" {results.currency} a day."
        )
    return text


def _tuned(tuned: Tuned, results: Results) -> str:
    if not tuned.sound:
        return (
            f"{tuned.arm}: too many requests failed or have no score to compare it with best-of-N."
        )
    text = f"{tuned.arm} {_matched(tuned, results.curve)}"
    text += (
        f" A thousand requests cost {spread(per_thousand(tuned.tuned_cost))} {results.currency},"
        f" of best-of-{tuned.compared_n} {spread(per_thousand(tuned.bon_cost))}."
    )
    if math.isinf(tuned.break_even.value):
        text += " It saves nothing, so it never pays: stay with best-of-N."
        if not math.isinf(tuned.break_even.low):
            text += f" At the edge of the interval it would after {number(tuned.break_even.low)}."
        return text
    text += (
        f" Training for {number(tuned.training_money)} {results.currency} pays back after"
        f" {spread(tuned.break_even)} requests, {spread(tuned.days)} days at"
        f" {number(results.requests_per_day)} a day."
    )
    if tuned.month_break_even is not None:
        per_month = tuned.bon_month - tuned.tuned_month
        word = "saves" if per_month > 0 else "loses"
        text += (
            f" With its retraining it {word} {number(abs(per_month))} {results.currency} a month."
        )
    if math.isinf(tuned.break_even.high):
        text += " The interval does not exclude that it never pays."
    return text


def _matched(tuned: Tuned, curve: Sequence[CurvePoint]) -> str:
    matched = tuned.matched_n
    largest = max(point.n for point in curve)
    if math.isinf(matched.value):
        return (
            f"is better than best-of-{largest}, the largest known (N from {_bound(matched.low)})."
            " Compared with that N it looks worse than it is."
        )
    high = f"above {largest}" if math.isinf(matched.high) else f"{matched.high:g}"
    return f"equals best-of-{matched.value:g} (N from {matched.low:g} to {high})."
