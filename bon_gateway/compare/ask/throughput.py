"""The highest rate of requests at which an arm still meets a latency target.

Each rate that is tried is an open loop of its own on that arm alone. The rate doubles while the
target is met; then the gap between the last that met it and the first that did not is halved. A
rate that missed the target is tried once more, as a disturbance of the machine can only slow it.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bon_gateway.compare.settings import TargetSettings
from bon_gateway.compare.statistics import quantile
from bon_gateway.compare.types import Record

Try = Callable[[float, int], Awaitable[Sequence[Record]]]
"""Asks at a rate (requests a second) for the first or second time, and gives what came of it; less
than was asked for if it was stopped."""
TRIES = 2


@dataclass(frozen=True, slots=True)
class Found:
    highest: float
    """Requests a second; 0 if even the lowest rate that was tried is too high."""
    tried: tuple[tuple[float, bool], ...]
    """Rates in the order tried, and whether the target was met."""


def meets(records: Sequence[Record], target: TargetSettings) -> bool:
    """A failed request takes for ever."""
    latencies = sorted(r.latency_s if r.ok else math.inf for r in records)
    return 1000 * quantile(latencies, target.quantile) <= target.latency_ms


async def highest_rate(attempt: Try, target: TargetSettings) -> Found | None:
    """None if the search was stopped."""
    tried: list[tuple[float, bool]] = []

    async def met(rate: float) -> bool | None:
        for time in range(TRIES):
            records = await attempt(rate, time)
            if len(records) < target.requests:
                return None
            tried.append((rate, meets(records, target)))
            if tried[-1][1]:
                break
        return tried[-1][1]

    low, high = 0.0, target.start_rate
    while True:
        answer = await met(high)
        if answer is None:
            return None
        if not answer:
            break
        low = high
        if high >= target.max_rate:
            return Found(low, tuple(tried))
        high = min(2 * high, target.max_rate)
    for _ in range(target.refinements):
        middle = (low + high) / 2
        answer = await met(middle)
        if answer is None:
            return None
        low, high = (middle, high) if answer else (low, middle)
    return Found(low, tuple(tried))
