"""Deals numbered things to several takers in fixed shares, without chance.

The number alone decides, so the same number goes to the same taker again, and every stretch that
begins at 0 has the shares as nearly as whole things can.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from fractions import Fraction


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
    if len(shares) == 1:
        return (0,)
    divisor = math.gcd(*shares)
    parts = [share // divisor for share in shares]
    total, slack = sum(parts), 2 * len(parts) - 2
    given = [0] * len(parts)
    order = []
    for turn in range(1, total + 1):
        # Those that would be 1 / slack of a thing or more behind; in whole numbers, so exactly.
        behind = [
            taker
            for taker, part in enumerate(parts)
            if slack * (turn * part - total * given[taker]) >= total
        ]
        taker = min(behind, key=lambda t: Fraction(slack * (given[t] + 1) - 1, parts[t]))
        given[taker] += 1
        order.append(taker)
    return tuple(order)


def dealt_among(number: int, shares: Sequence[int], among: Collection[int]) -> int:
    """The taker of ``number`` if only the takers in ``among`` can take.

    A number whose own taker is among them stays there. The others are dealt to these takers in
    their shares, in the order of the numbers. If ``among`` is empty, every number stays.
    """
    order = turns(shares)
    own = order[number % len(order)]
    if own in among or not among:
        return own
    rounds, rest = divmod(number, len(order))
    lost = [taker not in among for taker in order]
    place = rounds * sum(lost) + sum(lost[:rest])
    takers = sorted(among)
    anew = turns([shares[taker] for taker in takers])
    return takers[anew[place % len(anew)]]
