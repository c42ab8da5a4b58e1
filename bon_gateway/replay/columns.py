"""One number a prompt for each figure of a way to answer. Pure.

Every figure is the mean over a prompt's requests and permutations, so that differences are paired
by prompts and intervals come from resampling prompts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bon_gateway.replay.drive import Replayed
from bon_gateway.replay.log import RecordedCandidate
from bon_gateway.replay.pools import PromptPool

Value = Callable[[RecordedCandidate], float | None]

COSTS: Mapping[str, Callable[[Replayed], float]] = {
    "drawn": lambda one: one.drawn,
    "rounds": lambda one: one.rounds,
    "tokens": lambda one: one.tokens,
    "scored": lambda one: one.scored,
    "scored_tokens": lambda one: one.scored_tokens,
    "latency_s": lambda one: one.latency_s,
}


def reward_of(candidate: RecordedCandidate) -> float | None:
    return candidate.reward


def gold_of(candidate: RecordedCandidate) -> float | None:
    return candidate.gold


def known_values(pool: PromptPool, value: Value) -> list[float]:
    """Of the candidates that might win."""
    return [found for one in pool.usable if (found := value(one)) is not None]


@dataclass(frozen=True)
class AnswerColumns:
    """One way to answer."""

    costs: Mapping[str, Sequence[float]]
    """The keys of ``COSTS``, each with one entry for each prompt."""
    rewards: Sequence[float] | None
    """At the prompts ``PromptGroups.with_reward``; None if those of the answers are not known."""
    golds: Sequence[float] | None
    """At the prompts ``PromptGroups.with_gold``."""
    latencies_s: Sequence[float]
    """Of every replay."""
    failed: int = 0
    degraded: Mapping[str, int] | None = None


@dataclass(frozen=True)
class PromptGroups:
    """Which pools belong to one prompt, and which prompts can be judged by what."""

    pools: Sequence[PromptPool]
    members: Sequence[Sequence[int]]
    """For each prompt its places in ``pools``."""
    with_reward: frozenset[int]
    """Prompts whose usable candidates all have a reward."""
    with_gold: frozenset[int]

    @classmethod
    def of(cls, pools: Sequence[PromptPool]) -> PromptGroups:
        places: dict[bytes, list[int]] = {}
        for place, pool in enumerate(pools):
            places.setdefault(pool.prompt, []).append(place)
        members = [*places.values()]

        def known(value: Value) -> frozenset[int]:
            return frozenset(
                prompt
                for prompt, own in enumerate(members)
                if all(_all_known(pools[place], value) for place in own)
            )

        return cls(pools, members, known(reward_of), known(gold_of))

    def means(self, values: Sequence[float], prompts: frozenset[int] | None = None) -> list[float]:
        """From one value for each pool to one for each prompt, or for each of ``prompts``."""
        return [
            fmean([values[place] for place in own])
            for prompt, own in enumerate(self.members)
            if prompts is None or prompt in prompts
        ]


def of_strategy(groups: PromptGroups, replays: Sequence[Sequence[Replayed]]) -> AnswerColumns:
    """``replays`` has the permutations of each pool."""
    every = [one for own in replays for one in own]

    def worth(value: Value, prompts: frozenset[int]) -> list[float] | None:
        if not prompts:
            return None
        values = [
            fmean([_worth(pool, one.winner, value) for one in own])
            for pool, own in zip(groups.pools, replays, strict=True)
        ]
        return groups.means(values, prompts)

    return AnswerColumns(
        costs={
            name: groups.means([fmean(map(cost, own)) for own in replays])
            for name, cost in COSTS.items()
        },
        rewards=worth(reward_of, groups.with_reward),
        golds=worth(gold_of, groups.with_gold),
        latencies_s=[one.latency_s for one in every],
        failed=sum(one.error is not None for one in every),
        degraded=Counter(code for one in every for code in one.degraded),
    )


def _all_known(pool: PromptPool, value: Value) -> bool:
    return bool(pool.usable) and all(value(one) is not None for one in pool.usable)


def _worth(pool: PromptPool, winner: RecordedCandidate | None, value: Value) -> float:
    """An error, and an answer that may not win, are the worst answer of their pool."""
    found = None if winner is None else value(winner)
    return min(known_values(pool, value), default=0.0) if found is None else found
