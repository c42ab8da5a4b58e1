"""The longest common subsequence of two sequences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence


def common_length(left: Sequence[Hashable], right: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence. A row of the usual table is one integer here, with
    a bit for each element of ``left`` (Hyyrö 2004), so two texts of a thousand characters take a
    millisecond."""
    places: defaultdict[Hashable, int] = defaultdict(int)
    for place, element in enumerate(left):
        places[element] |= 1 << place
    every = (1 << len(left)) - 1
    row = every
    for element in right:
        matches = row & places.get(element, 0)
        row = ((row + matches) | (row - matches)) & every
    return len(left) - row.bit_count()


def fuzzy_match(left: str, right: str) -> float:
    """rapidfuzz's ``ratio``, 0 to 1: twice the length of the longest common subsequence, divided by
    the sum of both lengths. Two empty texts are equal."""
    length = len(left) + len(right)
    return 2 * common_length(left, right) / length if length else 1.0
