"""From an order of answers to rewards."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any


def shares(keys: Sequence[Any | None]) -> list[float | None]:
    """For each answer the share of the others that it beats; an equal one counts half.

    Higher keys are better. The rewards are in 0..1 and their mean is 0.5: if nothing tells the
    answers apart, each has 0.5. They compare answers of one call only. An answer without a key has
    no reward.
    """
    order = sorted(key for key in keys if key is not None)
    others = max(1, len(order) - 1)

    def share(key: Any) -> float:
        below, up_to = bisect_left(order, key), bisect_right(order, key)
        return (below + (up_to - below - 1) / 2) / others if len(order) > 1 else 0.5

    return [None if key is None else share(key) for key in keys]
