"""How alike answers are: for each answer, its mean similarity to the others (its consensus).

An answer that says what most others say has a high consensus; one that says something of its own
has a low one. All functions are pure, and the order of the answers does not matter.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from operator import mul


def ngram_consensus(texts: Sequence[str], size: int) -> list[float]:
    """Each text's mean similarity to the others, from 0 to 1; of a single text it is 0.

    Two texts are as similar as the n-grams of ``size`` characters that they share: twice the number
    of shared ones over the number of all, 2 |A & B| / (|A| + |B|), where an n-gram counts as often
    as it occurs. That is chrF (Popovic 2015) with one order and equal weight for precision and
    recall, so it is symmetric. Case and white space do not count. A text shorter than ``size`` is
    one n-gram, so that equal texts always have 1. Raises ValueError for a size below 1.
    """
    if size < 1:
        raise ValueError(f"an n-gram has at least 1 character, got {size}")
    counts = [_ngrams(" ".join(text.split()).casefold(), size) for text in texts]
    # Each n-gram gets one bit for each time that it occurs, so that what two texts share is one
    # operation on two whole numbers. Sets would take ten times as long for 64 long texts.
    bits: dict[tuple[str, int], int] = {}
    masks = [
        _mask(
            [bits.setdefault((gram, time), len(bits)) for gram in own for time in range(own[gram])]
        )
        for own in counts
    ]
    totals = [own.total() for own in counts]
    found: list[list[float]] = [[] for _ in texts]
    for one, other in combinations(range(len(texts)), 2):
        shared = (masks[one] & masks[other]).bit_count()
        similarity = 2 * shared / (totals[one] + totals[other])
        found[one].append(similarity)
        found[other].append(similarity)
    return [math.fsum(similarities) / max(1, len(similarities)) for similarities in found]


def cosine_consensus(vectors: Sequence[Sequence[float]]) -> list[float]:
    """Each vector's mean cosine to the others, from -1 to 1; of a single vector it is 0. A vector
    of zeros is similar to nothing.

    Raises ValueError unless all vectors have the same length and finite numbers.
    """
    if len({len(vector) for vector in vectors}) > 1:
        raise ValueError("the vectors differ in length")
    units = [unit_vector(vector) for vector in vectors]
    # The cosines with all others sum to that with their sum, which takes no loop over pairs.
    total = [math.fsum(column) for column in zip(*units, strict=True)]
    others = max(1, len(units) - 1)
    return [(_dot(unit, total) - _dot(unit, unit)) / others for unit in units]


def _ngrams(text: str, size: int) -> Counter[str]:
    last = max(1, len(text) - size + 1)
    return Counter([text[start : start + size] for start in range(last)])


def _mask(bits: Sequence[int]) -> int:
    """The whole number with these bits set."""
    buffer = bytearray(max(bits) // 8 + 1)
    for bit in bits:
        buffer[bit >> 3] |= 1 << (bit & 7)
    return int.from_bytes(buffer, "little")


def unit_vector(vector: Sequence[float]) -> list[float]:
    """The vector of length 1 in this direction; zeros stay zeros. Raises ValueError for a number
    that is not finite."""
    if not all(map(math.isfinite, vector)):
        raise ValueError("a vector holds a number that is not finite")
    # Scaled first, because the squares of very large or small numbers leave the range of a float.
    largest = max(map(abs, vector), default=0.0)
    scaled = [value / largest for value in vector] if largest else [0.0 for _ in vector]
    length = math.hypot(*scaled) or 1.0
    return [value / length for value in scaled]


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return math.fsum(map(mul, one, other))
