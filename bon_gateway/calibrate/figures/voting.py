"""The strategies in which final answers vote, weighed by rewards, each with its parameter. Pure.

Candidates without a final answer do not vote; if none has one, the best reward wins.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from bon_common.selection.votes import majority_of_the_bests, weighted_vote
from bon_gateway.calibrate.figures.hedges import log_steps
from bon_gateway.calibrate.figures.ways import (
    Tunable,
    WayColumns,
    contenders_of,
    expected,
    runs_of,
    sizes_up_to,
)
from bon_gateway.calibrate.pools import CalibrationPrompts, JudgedPool


class TunedVote(Tunable):
    def __init__(self, prompts: CalibrationPrompts, n: int, extract: Mapping[str, object]) -> None:
        """``extract`` are the settings that found the answers."""
        super().__init__(prompts, n)
        self._extract = extract

    @abstractmethod
    def _leaders(
        self, answers: Sequence[str], rewards: Sequence[float], value: float
    ) -> Sequence[int]:
        """The place that leads each answer, best answer first."""

    def settings(self, value: float) -> Mapping[str, object]:
        return {**super().settings(value), "extract": dict(self._extract)}

    def _columns(self, value: float) -> WayColumns:
        def chances(pool: JudgedPool) -> Sequence[float]:
            found = [0.0] * pool.size
            runs = runs_of(pool, self.n)
            for run in runs:
                found[self._winner(pool, run, value)] += 1 / len(runs)
            return found

        return expected(self._prompts, chances, self.n)

    def _winner(self, pool: JudgedPool, run: Sequence[int], value: float) -> int:
        own = contenders_of(pool, run)
        voters = [(p, a) for p in own if (a := (pool.answers or ())[p]) is not None]
        if not voters:
            return max(own, key=lambda p: pool.ranks[p])
        rewards = [pool.rewards[p] for p, _ in voters]
        return voters[self._leaders([a for _, a in voters], rewards, value)[0]][0]


class TunedMajorityOfTheBests(TunedVote):
    name, key = "majority_of_the_bests", "m"

    @property
    def values(self) -> Sequence[float]:
        return sizes_up_to(self.n)

    @property
    def plain(self) -> float | None:
        return self.n

    def settings(self, value: float) -> Mapping[str, object]:
        return super().settings(int(value))

    def _leaders(
        self, answers: Sequence[str], rewards: Sequence[float], value: float
    ) -> Sequence[int]:
        return majority_of_the_bests(answers, rewards, int(value))


class TunedWeightedVote(TunedVote):
    name, key = "weighted_vote", "reward_temperature"

    def __init__(
        self, prompts: CalibrationPrompts, n: int, extract: Mapping[str, object], scale: float
    ) -> None:
        """``scale`` is how far rewards of one prompt are apart, and above 0."""
        super().__init__(prompts, n, extract)
        self._scale = scale

    @property
    def values(self) -> Sequence[float]:
        return log_steps(0.03 * self._scale, 30 * self._scale, 0.125)

    @property
    def plain(self) -> float | None:
        return self.values[0]

    def _leaders(
        self, answers: Sequence[str], rewards: Sequence[float], value: float
    ) -> Sequence[int]:
        return weighted_vote(answers, rewards, value)
