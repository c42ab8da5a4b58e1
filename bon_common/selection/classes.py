"""Which texts say the same, by the angles between their vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul

ROUNDING = 1e-9


def similar_classes(units: Sequence[Sequence[float]], threshold: float) -> list[int]:
    """For each vector of length 1 the index of the first member of its class.

    In order, each vector joins the class whose first member is most like it, if their cosine is at
    least ``threshold``. Otherwise it begins a class. So two members of a class may be less alike
    than ``threshold``, but each is that close to the first. Connected components would join two
    texts that share nothing, through others between them. A later vector never changes an earlier
    class. Work grows with vectors times classes.
    """
    leaders: list[int] = []
    found: list[int] = []
    for place, unit in enumerate(units):
        cosines = {leader: math.fsum(map(mul, unit, units[leader])) for leader in leaders}
        # If several are equally near, the first wins.
        nearest = max(cosines, key=cosines.__getitem__, default=place)
        if cosines.get(nearest, -math.inf) < threshold - ROUNDING:
            nearest = place
            leaders.append(place)
        found.append(nearest)
    return found
