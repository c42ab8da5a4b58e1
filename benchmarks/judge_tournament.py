"""How often each tournament finds the best answer, and with how many calls, by a made-up judge.

The judge sees each pair in both orders; a verdict that changes with the order is a tie. Three
judges:

- ``fresh``: right in a share q of its calls, for any two answers. Each call is drawn anew, as from
  a judge that samples.
- ``fixed``: the same, but each pair always gets the same verdicts, as from a judge at temperature
  0.
- ``close``: qualities and the noise of each call are Gaussian, so that answers of like quality are
  hard to tell apart. Over random pairs it is right in a share q of its calls.

Pointwise grades have Gaussian noise too: they put two answers in the right order in a share q of
random pairs. With ``fixed`` an answer's grade is always the same.

Beside simulated figures stand the exact ones (``tournament_formulas.py``): knockouts by ``fresh``
and ``fixed`` judges, and a pivot tournament with a random pivot and four finalists. Intervals are
95 %: about one line in twenty misses by chance.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from estimate import Estimate
from tournament_formulas import knockout_best, knockout_rank, pivot_best

from bon_common.judging.knockout import knockout
from bon_common.judging.matches import Pair
from bon_common.judging.pairs import settled
from bon_common.judging.pivot import most_comparisons, pivot

SIZES, ACCURACIES = (4, 8, 16, 64), (0.6, 0.75, 0.9)
JUDGES = ("fresh", "fixed", "close")
FINALISTS = 4
BIAS = 0.2


def noise_of(accuracy: float) -> float:
    """Standard deviation of a grade's noise, for qualities of deviation 1, that puts two graded
    answers in the right order this often."""
    return 1 / math.tan(math.pi * (accuracy - 0.5))


class SyntheticJudge:
    """``ranks`` has each answer's rank by quality, 0 for the best."""

    def __init__(
        self, kind: str, accuracy: float, ranks: Sequence[int], chance: random.Random, bias: float
    ) -> None:
        self.calls = 0
        self._kind, self._accuracy, self._bias = kind, accuracy, bias
        self._ranks, self._chance = ranks, chance
        drawn = sorted((chance.gauss(0, 1) for _ in ranks), reverse=True)
        self._qualities = [drawn[rank] for rank in ranks]
        self._known: dict[Pair, float] = {}

    async def compare(self, pairs: Sequence[Pair]) -> list[float | None]:
        return [settled(self.ask(a, b), self.ask(b, a)) for a, b in pairs]

    async def compare_as_given(self, pairs: Sequence[Pair]) -> list[float | None]:
        """In one order: the lower index first."""
        lower = [self.ask(min(pair), max(pair)) for pair in pairs]
        return [p if a < b else 1 - p for p, (a, b) in zip(lower, pairs, strict=True)]

    def ask(self, first: int, second: int) -> float:
        """One call: 1 if it says that the first is better, otherwise 0."""
        self.calls += 1
        if self._kind == "fixed" and (first, second) in self._known:
            return self._known[first, second]
        if self._kind == "close":
            apart = self._qualities[first] - self._qualities[second]
            spread = noise_of(self._accuracy) * math.sqrt(2)
            verdict = float(apart + self._chance.gauss(0, spread) > 0)
        else:
            better = self._ranks[first] < self._ranks[second]
            chance = (self._accuracy if better else 1 - self._accuracy) + self._bias
            verdict = float(self._chance.random() < chance)
        return (
            self._known.setdefault((first, second), verdict) if self._kind == "fixed" else verdict
        )

    def grades(self, calls: int) -> list[float]:
        """The mean of equally many grades of each answer."""
        each = max(1, calls // len(self._ranks))
        self.calls += each * len(self._ranks)
        noise = noise_of(self._accuracy) / math.sqrt(1 if self._kind == "fixed" else each)
        return [quality + self._chance.gauss(0, noise) for quality in self._qualities]


Arm = Callable[[SyntheticJudge, int, random.Random], Awaitable[Sequence[float | None]]]


async def _knockout(judge: SyntheticJudge, n: int, chance: random.Random) -> Sequence[float | None]:
    return await knockout(n, judge.compare, chance)


async def _as_given(judge: SyntheticJudge, n: int, chance: random.Random) -> Sequence[float | None]:
    return await knockout(n, judge.compare_as_given, chance)


async def _long(judge: SyntheticJudge, n: int, chance: random.Random) -> Sequence[float | None]:
    most = most_comparisons(n)
    return await knockout(n, judge.compare, chance, limit=most, repeats=most - (n - 1))


async def _random_pivot(
    judge: SyntheticJudge, n: int, chance: random.Random
) -> Sequence[float | None]:
    return await pivot(n, judge.compare_as_given, chance, finalists=FINALISTS, seeds=1)


async def _four(judge: SyntheticJudge, n: int, chance: random.Random) -> Sequence[float | None]:
    return await pivot(n, judge.compare, chance, finalists=FINALISTS)


async def _full(judge: SyntheticJudge, n: int, chance: random.Random) -> Sequence[float | None]:
    return await pivot(n, judge.compare, chance)


async def _half(judge: SyntheticJudge, n: int, chance: random.Random) -> Sequence[float | None]:
    most = most_comparisons(n)
    return await pivot(n, judge.compare, chance, limit=most, repeats=(most - n + 1) // 2)


async def _pointwise(judge: SyntheticJudge, n: int, _: random.Random) -> Sequence[float | None]:
    return judge.grades(2 * most_comparisons(n))


SHORT, LONG, POINTWISE = "knockout", "knockout, repeats", "pointwise"
ARMS: dict[str, Arm] = {
    SHORT: _knockout,
    "pivot, 4 finalists": _four,
    LONG: _long,
    "pivot": _full,
    "pivot, half for repeats": _half,
    POINTWISE: _pointwise,
}
"""The first two take as few calls as they can; the others may take 2 N ceil(log2 N)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    judge: str
    arm: str
    n: int
    accuracy: float
    best: Estimate
    """How often the best answer won."""
    rank: Estimate
    """The winner's; 1 is the best."""
    calls: float


def simulate(
    kind: str, name: str, arm: Arm, n: int, accuracy: float, trials: int, bias: float = 0.0
) -> Outcome:
    ranks, calls = [], []

    async def run() -> None:
        for trial in range(trials):
            chance = random.Random(f"{kind} {name} {n} {accuracy} {bias} {trial}")
            own = chance.sample(range(n), n)
            judge = SyntheticJudge(kind, accuracy, own, chance, bias)
            rewards = await arm(judge, n, chance)
            known = [-math.inf if reward is None else reward for reward in rewards]
            ranks.append(own[known.index(max(known))] + 1)
            calls.append(judge.calls)

    asyncio.run(run())
    best = Estimate.of([float(rank == 1) for rank in ranks])
    return Outcome(kind, name, n, accuracy, best, Estimate.of(ranks), fmean(calls))


@dataclass(frozen=True, slots=True)
class Against:
    """A simulated figure beside the exact one."""

    what: str
    found: Estimate
    exact: float

    @property
    def holds(self) -> bool:
        return abs(self.found.mean - self.exact) <= self.found.half

    def __str__(self) -> str:
        said = "within" if self.holds else "MISS"
        return f"| {self.what} | {self.found} | {self.exact:.3f} | {said} |"


def formulas(sizes: Sequence[int], trials: int) -> list[Against]:
    found = []
    for n in sizes:
        for q in ACCURACIES:
            for kind in ("fresh", "fixed"):
                own = simulate(kind, SHORT, _knockout, n, q, trials)
                what = f"{kind}, N={n}, q={q}: knockout"
                found.append(Against(f"{what}, best wins", own.best, knockout_best(n, q)))
                found.append(Against(f"{what}, winner's rank", own.rank, knockout_rank(n, q)))
            own = simulate("fresh", "random pivot", _random_pivot, n, q, trials)
            what = f"fresh, N={n}, q={q}: random pivot, 4 finalists, best wins"
            found.append(Against(what, own.best, pivot_best(n, q, FINALISTS)))
    return found


def biased(trials: int) -> list[Against]:
    """N=8, and 0.2 more for the answer shown first: without the bias the best wins with q^3."""
    found = []
    for q in ACCURACIES[:2]:
        for name, arm in (("both orders", _knockout), ("one order", _as_given)):
            own = simulate("fresh", name, arm, 8, q, trials, BIAS)
            what = f"first + {BIAS}, N=8, q={q}: {name}, best wins"
            found.append(Against(what, own.best, knockout_best(8, q)))
        equal = equals(q, trials)
        found += [Against(f"first + {BIAS}, q={q}: equal answers, {n}, the first wins", own, 0.5)
                  for n, own in equal.items()]  # fmt: skip
    return found


def equals(accuracy: float, trials: int) -> dict[str, Estimate]:
    """How often the judge prefers the first of two answers when each is the better one equally
    often. A tie counts half."""
    chance = random.Random(f"equals {accuracy}")
    both, one = [], []
    for _ in range(trials):
        ranks = chance.sample(range(2), 2)
        judge = SyntheticJudge("fresh", accuracy, ranks, chance, BIAS)
        both.append(settled(judge.ask(0, 1), judge.ask(1, 0)) or 0.0)
        one.append(judge.ask(0, 1))
    return {"both orders": Estimate.of(both), "one order": Estimate.of(one)}


def table(outcomes: Sequence[Outcome], kind: str, value: Callable[[Outcome], str]) -> list[str]:
    lines = [f"| N | q | {' | '.join(ARMS)} |", "|---" * (2 + len(ARMS)) + "|"]
    own = [one for one in outcomes if one.judge == kind]
    for n, q in sorted({(one.n, one.accuracy) for one in own}):
        cells = {one.arm: value(one) for one in own if (one.n, one.accuracy) == (n, q)}
        lines.append(f"| {n} | {q} | {' | '.join(cells[arm] for arm in ARMS)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.add_argument("--smoke", action="store_true", help="few trials of small tournaments")
    options = parser.parse_args()
    sizes, trials = ((4, 8), 50) if options.smoke else (SIZES, options.trials)
    checks = [*formulas(sizes, trials), *biased(trials)]
    print("| figure | simulated | exact | |\n|---|---|---|---|")
    print(*checks, sep="\n")
    missed = sum(not one.holds for one in checks if "one order" not in one.what)
    print(f"\n{missed} of {len(checks)} lines miss, those with one order not counted.")
    outcomes = [
        # Large tournaments take long, and their figures lie far apart.
        simulate(kind, name, arm, n, q, trials if n < 64 else trials // 4)
        for kind in JUDGES
        for n in sizes
        for q in ACCURACIES
        for name, arm in ARMS.items()
    ]
    for kind in JUDGES:
        print(f"\n{kind}: how often the best wins")
        print(*table(outcomes, kind, lambda one: f"{one.best.mean:.3f}"), sep="\n")
        print(f"\n{kind}: the winner's rank")
        print(*table(outcomes, kind, lambda one: f"{one.rank.mean:.2f}"), sep="\n")
    print("\ncalls")
    print(*table(outcomes, "fresh", lambda one: f"{one.calls:.0f}"), sep="\n")
    widest = max(one.best.half for one in outcomes)
    print(f"\nThe widest 95 % interval of a share is +- {widest:.3f}.")
    if options.json:
        figures = {"checks": [*map(asdict, checks)], "outcomes": [*map(asdict, outcomes)]}
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
