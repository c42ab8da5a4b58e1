"""Judges for the tests of tournaments. The higher index is the better answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from bon_common.judging.matches import Pair

Verdict = Callable[[int, int], float | None]


class Asked:
    """An ``Ask`` that writes down what it is asked."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict
        self.rounds: list[list[Pair]] = []

    async def __call__(self, pairs: Sequence[Pair]) -> list[float | None]:
        self.rounds.append([*pairs])
        return [self._verdict(*pair) for pair in pairs]

    @property
    def comparisons(self) -> int:
        return sum(map(len, self.rounds))

    @property
    def times(self) -> Counter[Pair]:
        """How often each pair was asked."""
        return Counter((min(pair), max(pair)) for own in self.rounds for pair in own)


def higher(one: int, other: int) -> float:
    return float(one > other)


def ties(one: int, other: int) -> float:
    assert one != other
    return 0.5


def silent(one: int, other: int) -> None:
    assert one != other


def without(*unread: int) -> Verdict:
    """Abstains on every pair with one of these."""
    return lambda one, other: None if one in unread or other in unread else higher(one, other)
