"""What each way to answer is expected to give, at each prompt. Pure.

Expectations are exact over the recorded candidates where a formula exists: every draw of n of them
counts equally. A rule that looks at n candidates together is averaged over a few runs of n in the
recorded order, which begin at different places.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean

from bon_common.best_of_n import chances_to_be_best
from bon_gateway.calibrate.pools import CalibrationPrompts, JudgedPool

MOST_RUNS = 8


@dataclass(frozen=True)
class WayColumns:
    """One entry for each prompt."""

    golds: Sequence[float] | None
    rewards: Sequence[float]
    drawn: Sequence[float]
    """Candidates."""
    tokens: Sequence[float]
    """Of all candidates drawn."""

    @property
    def worths(self) -> Sequence[float]:
        """What is wanted: gold where it is known, else reward."""
        return self.rewards if self.golds is None else self.golds

    def mean_worth(self, places: Sequence[int]) -> float:
        worths = self.worths
        return fmean([worths[place] for place in places])

    def mean_tokens(self, places: Sequence[int]) -> float:
        return fmean([self.tokens[place] for place in places])


def expected(
    prompts: CalibrationPrompts,
    chances: Callable[[JudgedPool], Sequence[float]],
    drawn: float,
) -> WayColumns:
    """From each candidate's chance to be the answer, where ``drawn`` are drawn."""
    # Once for gold and reward: the chances are the costly part.
    rows = [[(pool, chances(pool)) for pool in own] for own in prompts.pools]

    def column(values: Callable[[JudgedPool], Sequence[float]]) -> list[float]:
        return [fmean([weighted(own, values(pool)) for pool, own in row]) for row in rows]

    return WayColumns(
        golds=column(lambda pool: pool.golds or ()) if prompts.with_gold else None,
        rewards=column(lambda pool: pool.rewards),
        drawn=[drawn] * len(rows),
        tokens=prompts.column(lambda pool: drawn * fmean(pool.tokens)),
    )


def weighted(chances: Sequence[float], values: Sequence[float]) -> float:
    return math.fsum(chance * value for chance, value in zip(chances, values, strict=True))


class Tunable(ABC):
    """A strategy with one parameter, which is chosen on some of the prompts."""

    name: str
    """The strategy's ``type``."""
    key: str
    """The parameter's key in its settings."""

    def __init__(self, prompts: CalibrationPrompts, n: int) -> None:
        """``n`` is the most that a request draws, and not above the smallest pool."""
        self._prompts, self.n = prompts, n
        self.columns: Callable[[float], WayColumns] = cache(self._columns)

    @property
    @abstractmethod
    def values(self) -> Sequence[float]:
        """The values to try. Of equally good ones the first is taken."""

    @abstractmethod
    def _columns(self, value: float) -> WayColumns: ...

    @property
    def plain(self) -> float | None:
        """The value at which it is nothing but best-of-n; None if there is none."""
        return None

    def settings(self, value: float) -> Mapping[str, object]:
        """The keys of ``models.<name>.strategy``."""
        return {"type": self.name, "n": self.n, self.key: value}

    def slope(self, value: float, places: Sequence[int]) -> float | None:
        """A number with the sign of the slope of the mean gold in the parameter; None where only
        the values to try are compared."""
        return None


class TunedBestOfN(Tunable):
    name, key = "best_of_n", "n"

    @property
    def values(self) -> Sequence[float]:
        return sizes_up_to(self.n)

    def _columns(self, value: float) -> WayColumns:
        size = int(value)
        return expected(self._prompts, lambda pool: chances_to_be_best(pool.ranks, size), size)

    def settings(self, value: float) -> Mapping[str, object]:
        n = int(value)
        return {"type": "single"} if n == 1 else {"type": "best_of_n", "n": n}


def oracle_columns(prompts: CalibrationPrompts, n: int) -> WayColumns:
    """The best by gold of n candidates, truncated or not."""
    return expected(prompts, lambda pool: chances_to_be_best(pool.golds or (), n), n)


def best_rewards(pool: JudgedPool, n: int) -> list[float]:
    """The rewards of the answers of best-of-n, one for each run of n."""
    return [pool.rewards[max(run, key=lambda p: pool.ranks[p])] for run in runs_of(pool, n)]


def runs_of(pool: JudgedPool, n: int) -> Sequence[Sequence[int]]:
    """Places of n candidates, each run as if drawn alone. A pool of n candidates is one run. For
    rules that ignore the order of candidates."""
    return turned(pool, n) if n < pool.size else [range(n)]


def turned(pool: JudgedPool, n: int) -> Sequence[Sequence[int]]:
    """The first n of the recorded order in a circle, begun at evenly spaced places."""
    count = min(MOST_RUNS, pool.size)
    starts = [turn * pool.size // count for turn in range(count)]
    return [[(start + step) % pool.size for step in range(n)] for start in starts]


def contenders_of(pool: JudgedPool, places: Sequence[int]) -> Sequence[int]:
    """The finished ones, or all if none finished."""
    return [place for place in places if pool.finished[place]] or places


def run_chances(
    pool: JudgedPool, n: int, rule: Callable[[Sequence[float]], Sequence[float]]
) -> list[float]:
    """Each candidate's chance to be the answer to one request, where ``rule`` makes chances of the
    rewards of n candidates: the mean over the runs of n."""
    chances = [0.0] * pool.size
    runs = runs_of(pool, n)
    for run in runs:
        own = contenders_of(pool, run)
        for place, chance in zip(own, rule([pool.rewards[p] for p in own]), strict=True):
            chances[place] += chance / len(runs)
    return chances


def sizes_up_to(n: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, ... and n."""
    powers = [2**step for step in range(n.bit_length())]
    between = [3 * size // 2 for size in powers[1:] if 3 * size // 2 <= n]
    return sorted({*powers, *between, n})
