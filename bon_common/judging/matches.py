"""The comparisons of one tournament: their results, and how many are left.

A comparison of two answers is one question to the judge in each order, see ``pairs``. A tournament
asks for all comparisons of a round in one call, so that they run at the same time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from statistics import fmean

from bon_common.judging.pairs import TIE

Pair = tuple[int, int]
Ask = Callable[[Sequence[Pair]], Awaitable[Sequence[float | None]]]
"""Takes pairs of answers by index. Returns the preference for the first answer of each pair, see
``pairs``; None for an abstention."""


class Matches:
    """Preferences by pair. A pair that was asked several times has the mean of its verdicts."""

    def __init__(self, ask: Ask, limit: int) -> None:
        self._ask = ask
        self.left = limit
        """Number of comparisons that are still allowed."""
        self._known: dict[Pair, list[float]] = {}
        """Verdicts by pair, as the preference for the lower index."""
        self._judged: set[int] = set()
        self._asked: set[Pair] = set()

    async def play(self, pairs: Sequence[Pair]) -> None:
        """Ask about these pairs in order, as many as the limit allows."""
        allowed = pairs[: self.left]
        if not allowed:
            return
        self.left -= len(allowed)
        for (one, other), preference in zip(allowed, await self._ask(allowed), strict=True):
            pair = _named(one, other)
            self._asked.add(pair)
            if preference is None:
                continue
            seen = preference if one < other else 1 - preference
            self._known.setdefault(pair, []).append(seen)
            self._judged.update((one, other))

    async def repeat(self, pairs: Sequence[Pair], times: int) -> None:
        """Ask for ``times`` more comparisons where the margin is smallest (arXiv:2603.04304). Each
        round runs half of those that are left at the same time, so this takes few rounds."""
        times = min(times, self.left)
        while times > 0 and (judged := [pair for pair in pairs if self.met(*pair)]):
            again = sorted(judged, key=lambda pair: self.margin(*pair))[: (times + 1) // 2]
            times -= len(again)
            await self.play(again)

    def met(self, one: int, other: int) -> bool:
        """Whether there is a verdict on these two."""
        return _named(one, other) in self._known

    def asked(self, one: int, other: int) -> bool:
        """Whether these two were compared, with or without a verdict."""
        return _named(one, other) in self._asked

    def judged(self, one: int) -> bool:
        """Whether there is any verdict on this answer."""
        return one in self._judged

    def preference(self, one: int, other: int) -> float | None:
        """The preference for ``one`` over ``other``; None if there is no verdict."""
        known = self._known.get(_named(one, other))
        if known is None:
            return None
        return fmean(known) if one < other else 1 - fmean(known)

    def margin(self, one: int, other: int) -> float:
        """How far all verdicts on these two together lean to one side. Two that agree leave less
        doubt than one. Needs at least one verdict."""
        return abs(sum(seen - TIE for seen in self._known[_named(one, other)]))


def _named(one: int, other: int) -> Pair:
    return (one, other) if one < other else (other, one)
