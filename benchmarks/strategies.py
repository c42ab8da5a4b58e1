"""What each strategy costs at the answers of best-of-16, beside its goal and beside the oracle.

The strategies are those that serve: ``bon_gateway.replay`` runs them in virtual time on pools of
candidates. The pools are made up, with rewards of known distributions (``synthetic_pools``), and
recorded from the real model (docs/real-study). The first prompts only teach the strategies that
learn; figures are of the others. Differences from best-of-16 have paired 95 % intervals over
prompts. A strategy is equal if its interval reaches what best-of-16 has. ``strategies_live.py``
measures the same on real engines.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from synthetic_pools import (
    PARTIALS,
    SHAPES,
    Shape,
    made_pools,
    oracle_share,
    voting_pools,
)

from bon_gateway.compare.statistics import Interval
from bon_gateway.replay.columns import AnswerColumns, PromptGroups, of_strategy
from bon_gateway.replay.drive import Replayed, replay
from bon_gateway.replay.figures import RowMaker
from bon_gateway.replay.log import read_log
from bon_gateway.replay.pools import PoolSet, pool_set
from bon_gateway.replay.settings import ReplaySettings

N = 16
SIZE = 32
"""Candidates in a pool: ``adaptive`` may draw twice ``N``."""
REAL = Path(__file__).parent.parent / "docs" / "real-study" / "pools" / "sft-pool.jsonl.gz"
BASE, ONE = f"best of {N}", "one sample"
TOKEN_MS, REWARD_MS = 20.0, 50.0
READ_PRICE = 0.1
"""Of a token that the reward model reads, beside one that the policy generates: reading goes by
whole texts, generating token by token."""

Kind = Literal["rewards", "partials", "real", "votes"]
"""What pools are about: the shape of rewards, those of unfinished answers, or votes."""


@dataclass(frozen=True)
class Figures:
    """One strategy on one set of pools, a request's means."""

    tokens: float
    """Of the base's, in percent; so are the next three."""
    tokens_scored_too: float
    """With those that the reward model read."""
    cost: float
    """The same, with each token that it read at ``READ_PRICE``."""
    drawn: float
    rounds: float
    median_ms: float
    p95_ms: float
    p95_to_one: float
    """Over that of one sample."""
    reward: Interval | None
    """Minus the base's, as a share of what the base gains over one sample."""
    gold: Interval | None
    """Minus the base's."""


@dataclass(frozen=True)
class Goal:
    what: str
    of: Callable[[Figures], float]
    most: float


@dataclass(frozen=True)
class Rival:
    """A strategy and what it should reach, on the kinds of pools where that is asked of it."""

    name: str
    settings: Mapping[str, Any]
    goals: Sequence[Goal]
    kinds: Sequence[Kind]


TOKENS, COST = "tokens, %", "cost, %"
PRUNING = {"type": "pruning", "n": N}
RIVALS = (
    Rival(
        "adaptive",
        {"type": "adaptive", "n": N},
        (
            Goal(TOKENS, lambda f: f.tokens_scored_too, 80.0),
            Goal("rounds", lambda f: f.rounds, 3.5),
        ),
        ("rewards", "real"),
    ),
    Rival("pruning", PRUNING, (Goal(COST, lambda f: f.cost, 60.0),), ("rewards",)),
    Rival(
        "pruning, waves",
        {**PRUNING, "wave": 6},
        (Goal(COST, lambda f: f.cost, 58.0),),
        ("rewards",),
    ),
    Rival("pruning", PRUNING, (Goal(COST, lambda f: f.cost, 100.0),), ("partials",)),
    Rival(
        "pruning, early",
        {**PRUNING, "checkpoints": (4, 8, 16)},
        (Goal(COST, lambda f: f.cost, 100.0),),
        ("real",),
    ),
    Rival(
        "first_k",
        {"type": "first_k", "n": N, "spare": 2},
        (
            Goal("p95 to one sample's", lambda f: f.p95_to_one, 1.05),
            Goal(TOKENS, lambda f: f.tokens, 107.0),
        ),
        ("rewards", "real"),
    ),
    Rival(
        "majority, stop_at",
        {"type": "majority", "n": N, "stop_at": 0.95},
        (Goal("calls, %", lambda f: f.drawn, 40.0),),
        ("votes",),
    ),
)
"""A further strategy is an entry here. Its goals are checked on the pools of its kinds. Pools with
rewards have those of unfinished answers too (``partial_rewards``)."""


@dataclass(frozen=True)
class Case:
    name: str
    kind: Kind
    pools: PoolSet
    learning: int
    """How many of the first pools only teach, and are not measured."""
    base: Mapping[str, Any]
    seeds: int = 1
    """How often it runs, with other orders each time."""
    oracle: float | None = None
    """Percent of the base's candidates that the oracle needs."""


def cases(options: argparse.Namespace) -> Iterator[Case]:
    best = {"type": "best_of_n", "n": N}
    count = options.learning + options.prompts
    for shape in SHAPES:
        yield _made(shape, "sqrt(f)", count, options, best)
    for partial in PARTIALS:
        if partial != "sqrt(f)":
            yield _made(SHAPES[0], partial, count, options, best)
    votes = {"type": "majority", "n": N}
    yield Case("votes", "votes", voting_pools(options.prompts, SIZE, options.seed), 0, votes)
    real = pool_set(read_log([REAL]), None, SIZE)
    # The file goes task by task.
    mixed = random.Random(options.seed).sample(real.pools, len(real.pools))
    held_out = min(options.prompts, len(mixed) - options.learning)
    pools = replace(real, pools=mixed[: options.learning + held_out])
    yield Case("real model", "real", pools, options.learning, best, options.seeds)


def _made(
    shape: Shape, partial: str, count: int, options: argparse.Namespace, best: Mapping[str, Any]
) -> Case:
    pools = made_pools(shape, PARTIALS[partial], count, SIZE, options.seed)
    oracle = 100 * oracle_share(shape, N, SIZE, options.oracle_prompts, options.seed)
    name = shape.name if partial == "sqrt(f)" else f"{shape.name}, rho(f) = {partial}"
    kind: Kind = "rewards" if partial == "sqrt(f)" else "partials"
    return Case(name, kind, pools, options.learning, best, oracle=oracle)


def run(case: Case, settings: Mapping[str, Any]) -> list[list[Replayed]]:
    """For each pool that counts, one entry for each seed."""
    found: list[list[Replayed]] = [[] for _ in case.pools.pools]
    for seed in range(case.seeds):
        tree = {
            "pools": ["made"],
            "strategies": {"it": settings},
            "permutations": 1,
            "seed": seed,
            "token_ms": TOKEN_MS,
            "reward_ms": REWARD_MS,
        }
        made = ReplaySettings.model_validate(tree)
        replayed = replay(made.strategies["it"], "it", case.pools, made)
        for own, more in zip(found, replayed, strict=True):
            own.extend(more)
    return found[case.learning :]


class Measured:
    """One case: the base, one sample, and what stands beside them."""

    def __init__(self, case: Case, resamples: int) -> None:
        self.case = case
        self._groups = PromptGroups.of(case.pools.pools[case.learning :])
        self._base = self._columns(case.base)
        self._one = self._columns({"type": "single"})
        self._maker = RowMaker(self._base, resamples=resamples, confidence=0.95, seed=0)

    def figures(self, settings: Mapping[str, Any]) -> Figures:
        columns, base, one = self._columns(settings), self._base, self._one
        row = self._maker.row("it", settings, columns)
        if columns.failed or row.degraded:
            raise RuntimeError(f"{self.case.name}, {settings}: {columns.failed} {row.degraded}")
        beside = row.beside
        assert beside is not None, "only the base has none"
        latencies = sorted(columns.latencies_s)
        reward = beside.reward
        if reward is not None and base.rewards is not None and one.rewards is not None:
            gain = fmean(base.rewards) - fmean(one.rewards)
            reward = reward.map(lambda value: value / gain)
        return Figures(
            tokens=_percent(columns, base, {"tokens": 1.0}),
            tokens_scored_too=_percent(columns, base, {"tokens": 1.0, "scored_tokens": 1.0}),
            cost=_percent(columns, base, {"tokens": 1.0, "scored_tokens": READ_PRICE}),
            drawn=_percent(columns, base, {"drawn": 1.0}),
            rounds=row.rounds,
            median_ms=1000 * latencies[len(latencies) // 2],
            p95_ms=row.latency_p95,
            p95_to_one=row.latency_p95 / self._maker.row(ONE, None, one).latency_p95,
            reward=reward,
            gold=beside.gold,
        )

    def _columns(self, settings: Mapping[str, Any]) -> AnswerColumns:
        return of_strategy(self._groups, run(self.case, settings))


def _percent(ours: AnswerColumns, theirs: AnswerColumns, prices: Mapping[str, float]) -> float:
    one, other = (
        sum(price * fmean(columns.costs[cost]) for cost, price in prices.items())
        for columns in (ours, theirs)
    )
    return 100 * one / other


def equal(figures: Figures) -> bool:
    """Whether what it answers is as good as the base's, or not shown to be worse."""
    beside = [interval for interval in (figures.reward, figures.gold) if interval is not None]
    return all(interval.high >= 0 for interval in beside)


def verdicts(rival: Rival, figures: Figures) -> list[str]:
    found = [] if equal(figures) else ["MISS: worse answers"]
    for goal in rival.goals:
        value = goal.of(figures)
        told = "pass" if value <= goal.most else "MISS"
        found.append(f"{told}: {goal.what} {value:.4g} (at most {goal.most:g})")
    return found


def show(case: Case, rival: Rival, figures: Figures) -> None:
    oracle = "" if case.oracle is None else f"{case.oracle:.0f}"
    print(
        f"{case.name:36} {rival.name:18} {figures.drawn:6.0f} {oracle:>6} {figures.tokens:6.0f}"
        f" {figures.tokens_scored_too:8.0f} {figures.cost:6.1f} {figures.rounds:6.1f}"
        f" {figures.median_ms:8.0f} {figures.p95_ms:8.0f} {figures.p95_to_one:6.2f}"
        f"  {_told(figures.reward):26} {_told(figures.gold):26}"
        f"  {'; '.join(verdicts(rival, figures))}",
        flush=True,
    )


def _told(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return f"{interval.value:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"


def parser_of() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=1000, help="of made pools that count")
    parser.add_argument("--learning", type=int, default=160, help="prompts before them")
    parser.add_argument("--seeds", type=int, default=8, help="orders of the real pools")
    parser.add_argument("--seed", type=int, default=0, help="of what is made up")
    parser.add_argument("--oracle-prompts", type=int, default=10_000)
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--only", nargs="*", help="strategies by their names")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--smoke", action="store_true", help="a few prompts of each")
    return parser


def main() -> None:
    options = parser_of().parse_args()
    if options.smoke:
        options.prompts, options.learning, options.seeds = 12, 130, 1
        options.oracle_prompts, options.resamples = 100, 100
    rivals = [rival for rival in RIVALS if not options.only or rival.name in options.only]
    print(
        f"{'pools':36} {'strategy':18} {'drawn%':>6} {'oracle':>6} {'tok%':>6} {'+reward%':>8}"
        f" {'cost%':>6} {'rounds':>6} {'p50 ms':>8} {'p95 ms':>8} {'to one':>6}"
        f"  {'reward, share of gain':26} {'gold':26}  goals"
    )
    results = []
    for case in cases(options):
        asked = [rival for rival in rivals if case.kind in rival.kinds]
        if not asked:
            continue
        measured = Measured(case, options.resamples)
        for rival in asked:
            figures = measured.figures(rival.settings)
            show(case, rival, figures)
            results.append(
                {
                    "pools": case.name,
                    "strategy": rival.name,
                    "settings": rival.settings,
                    "oracle_percent": case.oracle,
                    **asdict(figures),
                    "goals": verdicts(rival, figures),
                }
            )
    if options.json is not None:
        told = {"options": vars(options), "results": results}
        options.json.write_text(json.dumps(told, indent=2, default=str))


if __name__ == "__main__":
    main()
