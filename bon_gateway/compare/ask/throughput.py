"""The highest rate of requests at which an arm still meets a latency target.

Each rate is tried in an open loop on that arm alone. The rate doubles while the target is met; then
the gap between the last rate that met it and the first that did not is halved. A rate that missed
the target is tried once more, because a disturbance of the machine can only slow it.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence

from bon_gateway.compare.settings import TargetSettings
from bon_gateway.compare.statistics import quantile
from bon_gateway.compare.types import ArmRecord

Try = Callable[[float, int], Awaitable[Sequence[ArmRecord]]]
"""Asks at a rate (requests a second) for the first or second time. Returns the records: fewer than
``target.requests`` if it was stopped."""
TRIES = 2


def meets(records: Sequence[ArmRecord], target: TargetSettings) -> bool:
    """Whether latency is within the target. A failed request counts as infinitely slow."""
    latencies = sorted(r.latency_s if r.ok else math.inf for r in records)
    return 1000 * quantile(latencies, target.quantile) <= target.latency_ms


async def highest_rate(attempt: Try, target: TargetSettings) -> float | None:
    """Requests a second; 0 if even the lowest rate tried is too high. None if it was stopped."""

    async def met(rate: float) -> bool | None:
        for time in range(TRIES):
            records = await attempt(rate, time)
            if len(records) < target.requests:
                return None
            if meets(records, target):
                return True
        return False

    low, high = 0.0, target.start_rate
    while True:
        answer = await met(high)
        if answer is None:
            return None
        if not answer:
            break
        low = high
        if high >= target.max_rate:
            return low
        high = min(2 * high, target.max_rate)
    for _ in range(target.refinements):
        middle = (low + high) / 2
        answer = await met(middle)
        if answer is None:
            return None
        low, high = (middle, high) if answer else (low, middle)
    return low
