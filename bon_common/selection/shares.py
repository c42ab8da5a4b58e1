"""Deals numbered things to several takers in fixed shares, without chance.

The number alone decides, so the same number goes to the same taker again, and every stretch that
begins at 0 has the shares as nearly as whole things can.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import accumulate

REMEMBERED = 256
"""Rounds that are kept: one for each mix, and one for each set of takers that could take."""


def turns(shares: Sequence[int]) -> tuple[int, ...]:
    """The takers of one round, in turn: number i goes to taker ``turns[i % len(turns)]``.

    ``shares`` are positive whole numbers. A round has as many turns as they sum to, after division
    by their greatest common divisor, and gives each taker its share exactly. With k takers no
    beginning of it is further than 1 - 1 / (2k - 2) from any taker's share, which no other rule
    betters for all shares (Tijdeman, "The chairman assignment problem", 1980). Number 0 goes to the
    largest share; equals go by their order.

    Raises ValueError without shares, and for one below 1.
    """
    if not shares or min(shares) < 1:
        raise ValueError(f"shares must be positive whole numbers, got {list(shares)}")
    return _turns(tuple(shares))


def dealt_among(number: int, shares: Sequence[int], among: Collection[int]) -> int:
    """The taker of ``number`` if only the takers in ``among`` can take.

    A number whose own taker is among them stays there. The others are dealt to these takers in
    their shares, in the order of the numbers. If ``among`` is empty, every number stays.
    """
    order = turns(shares)
    own = order[number % len(order)]
    if own in among or not among:
        return own
    before, anew = _anew(tuple(shares), frozenset(among))
    rounds, turn = divmod(number, len(order))
    return anew[(rounds * before[-1] + before[turn]) % len(anew)]


# A long round takes tens of milliseconds to compute, and every candidate asks for it.
@lru_cache(maxsize=REMEMBERED)
def _turns(shares: tuple[int, ...]) -> tuple[int, ...]:
    if len(shares) == 1:
        return (0,)
    divisor = math.gcd(*shares)
    parts = [share // divisor for share in shares]
    total, slack = sum(parts), 2 * len(parts) - 2
    # Dividing by a part, but in whole numbers.
    multiple = math.lcm(*parts)
    weights = [multiple // part for part in parts]
    given = [0] * len(parts)
    order = []
    for turn in range(1, total + 1):
        # Those that would be 1 / slack of a thing or more behind; in whole numbers, so exactly.
        behind = [
            taker
            for taker, part in enumerate(parts)
            if slack * (turn * part - total * given[taker]) >= total
        ]
        taker = min(behind, key=lambda t: (slack * (given[t] + 1) - 1) * weights[t])
        given[taker] += 1
        order.append(taker)
    return tuple(order)


@lru_cache(maxsize=REMEMBERED)
def _anew(
    shares: tuple[int, ...], among: frozenset[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How many numbers have lost their taker before each turn of a round and in the whole round,
    and who takes them, in turn."""
    lost = [taker not in among for taker in _turns(shares)]
    takers = sorted(among)
    anew = _turns(tuple(shares[taker] for taker in takers))
    return tuple(accumulate(lost, initial=0)), tuple(takers[place] for place in anew)
