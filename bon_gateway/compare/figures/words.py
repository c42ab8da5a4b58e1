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
    value, low, high = _alike(interval)
    return f"{value} ({low} to {high})"


def per_thousand(interval: Interval | None) -> Interval | None:
    """Money for a thousand requests, which is easier to read than money for one."""
    return None if interval is None else interval.map(lambda money: 1000 * money)


def bound(value: float) -> str:
    return ("∞" if value > 0 else "-∞") if math.isinf(value) else number(value)


def signed(interval: Interval) -> str:
    """Value and interval of a difference, each with its sign."""
    value, low, high = _alike(interval, sign="+")
    return f"{value} ({low} to {high})"


def _alike(interval: Interval, sign: str = "") -> list[str]:
    """The value and both ends with the same decimals, three digits for the largest of them."""
    ends = (interval.value, interval.low, interval.high)
    largest = max((abs(end) for end in ends if math.isfinite(end)), default=0.0)
    if not 0.001 <= largest < 1000:
        return [number(interval.value), bound(interval.low), bound(interval.high)]
    decimals = max(0, 2 - math.floor(math.log10(largest)))
    first = number(interval.value) if math.isinf(interval.value) else None
    texts = [bound(end) if math.isinf(end) else f"{end:{sign}.{decimals}f}" for end in ends]
    return [first or texts[0], *texts[1:]]


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
