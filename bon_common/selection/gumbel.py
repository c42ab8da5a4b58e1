"""Draws an order from weights, repeatably where there is a seed."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence


def gumbel_order(log_weights: Sequence[float], seed: int | None) -> list[int]:
    """Positions in the order of a draw without replacement in proportion to exp(``log_weights``).

    The first is the winner. A weight of -inf never comes: its position is left out. Weights need
    not sum to 1; the largest should be near 0, because noise is lost beside a very large number.
    Equal seeds give equal noise at each position, whatever the weights are; without a seed each
    call draws anew. Adding Gumbel noise and sorting is such a draw: Yellott 1977; Kool et al. 2019,
    arXiv:1903.06059.
    """
    # A text as seed: Random takes -3 and 3 for the same number, and policies may use the number
    # itself to draw the candidates.
    source = random.Random(None if seed is None else f"{seed} winner")
    # Positions that never come get noise too, so that those after them keep theirs.
    keys = [weight + _gumbel(source) for weight in log_weights]
    possible = [i for i, weight in enumerate(log_weights) if weight > -math.inf]
    return sorted(possible, key=lambda position: -keys[position])


def _gumbel(source: random.Random) -> float:
    # 52 bits and a half lie strictly between 0 and 1, where both logarithms are finite.
    uniform = (source.getrandbits(52) + 0.5) / 2**52
    return -math.log(-math.log(uniform))
