"""Numbers and intervals in words: one format for the page, the terminal and the verdict. Pure."""

from __future__ import annotations

import math

from bon_gateway.compare.figures.results import Difference
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
    return f"{number(interval.value)} ({bound(interval.low)} to {bound(interval.high)})"


def per_thousand(interval: Interval | None) -> Interval | None:
    """Money for a thousand requests, which is easier to read than money for one."""
    return None if interval is None else interval.map(lambda money: 1000 * money)


def bound(value: float) -> str:
    return ("∞" if value > 0 else "-∞") if math.isinf(value) else number(value)


def signed(interval: Interval) -> str:
    """Value and interval of a difference, each with its sign."""
    value, low, high = (
        f"{end:+.3g}" if math.isfinite(end) and abs(end) < 1000 else bound(end)
        for end in (interval.value, interval.low, interval.high)
    )
    return f"{value} ({low} to {high})"


def told(difference: Difference) -> str:
    """The difference, and whether it is decided."""
    return f"{signed(difference.difference)}{doubt(difference)}"


def doubt(difference: Difference) -> str:
    """Nothing where the difference is decided, else that it is not, and how many prompts would
    decide it."""
    if difference.decided:
        return ""
    needed = difference.prompts_needed
    return ", not decided" + (f" (about {number(needed)} prompts would do)" if needed else "")
