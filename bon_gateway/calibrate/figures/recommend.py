"""Which strategy to serve: the cheapest that is as good as the best. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bon_gateway.compare.statistics import Interval


@dataclass(frozen=True)
class Servable:
    """What a strategy that could be served was measured to give, and its price."""

    name: str
    settings: Mapping[str, object]
    tokens: float
    worth: float
    """Gold where it is known, else reward."""
    below_best: Interval
    """What the best has more, at the same prompts; 0 for the best itself."""


def cheapest_good(ways: Sequence[Servable], single: Servable, tolerance: float) -> Servable:
    """The one with the fewest tokens among those that are as good as the best: they lose at most
    the share ``tolerance`` of the best's gain over a ``single`` sample, and it is not decided that
    they are worse. Both count: with few prompts nothing is decided, and with many every trifle is.
    Of equally cheap ones the better. A single sample if it is not decided that the best is better.

    ``single`` is one of ``ways``.
    """
    if single.below_best.low <= 0:
        return single
    best = max(ways, key=lambda way: way.worth)
    allowed = tolerance * (best.worth - single.worth)
    good = [
        way
        for way in ways
        if way is best or (way.below_best.value <= allowed and way.below_best.low <= 0)
    ]
    return min(good, key=lambda way: (way.tokens, -way.worth))
