"""A whole replay: from settings to results."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import msgspec

import bon_gateway
from bon_common.settings.errors import SettingsError
from bon_gateway.offline_rewards import RewardCost
from bon_gateway.replay.beside import greedy_answers, of_greedy, of_oracle, of_random
from bon_gateway.replay.columns import AnswerColumns, PromptGroups, of_strategy
from bon_gateway.replay.comparing import refuse_unsteady
from bon_gateway.replay.drive import Replayed, replay
from bon_gateway.replay.figures import RowMaker
from bon_gateway.replay.joint import with_joint_rewards
from bon_gateway.replay.log import read_log
from bon_gateway.replay.pools import PoolSet, pool_set
from bon_gateway.replay.rescored import chosen_by, rescored, told_costs
from bon_gateway.replay.results import ReplayResults
from bon_gateway.replay.settings import GREEDY, ORACLE, RANDOM, ReplaySettings
from bon_gateway.replay.warnings import of_comparing, warnings_of
from bon_gateway.strategies.best_of_n import BestOfNSettings
from bon_gateway.strategies.settings import StrategySettings


def run(
    settings: ReplaySettings,
    tell: Callable[[str], None],
    environ: Mapping[str, str] = os.environ,
) -> ReplayResults:
    """``tell`` takes a line before each strategy. Raises SettingsError for pools that cannot be
    read, that do not belong together or that are too small, and for a strategy that lacks what it
    needs."""
    for name, kind in settings.strategies.items():
        _check(name, kind)
    pools = pool_set(read_log(settings.pools), settings.model, settings.at_least)
    comparing = refuse_unsteady(settings, pools.source)
    costs: Mapping[str, RewardCost] = {}
    if settings.score_by:
        pools, costs = rescored(
            pools, settings.score_by, settings.output, environ, tell, settings.thinking
        )
    if settings.rewards:
        pools = with_joint_rewards(pools, settings.rewards, settings.how_joined)
    elif settings.score_by:
        pools = chosen_by(pools, *settings.score_by)
    greedy = None
    if settings.greedy is not None:
        greedy = greedy_answers(read_log([settings.greedy]), pools)
        if settings.rewards or settings.score_by:
            # Drop their recorded reward: they take the new one from equal candidates instead.
            greedy = {key: msgspec.structs.replace(a, reward=None) for key, a in greedy.items()}
    base, kinds = _with_base(settings, pools)
    groups = PromptGroups.of(pools.pools)
    replays: dict[str, list[list[Replayed]]] = {}
    for name, kind in kinds.items():
        tell(f"replaying {name}")
        replays[name] = replay(kind, name, pools, settings)
    columns = {name: of_strategy(groups, found) for name, found in replays.items()}
    others = _beside(groups, columns[base], kinds[base].pool, settings)
    if greedy is not None:
        others = {GREEDY: of_greedy(groups, greedy, settings.token_ms / 1000), **others}
    maker = RowMaker(
        columns[base],
        resamples=settings.resamples,
        confidence=settings.confidence,
        seed=settings.seed,
    )
    rows = [maker.row(n, kinds[n].model_dump(mode="json"), own) for n, own in columns.items()]
    rows += [maker.row(name, None, own) for name, own in others.items()]
    return ReplayResults(
        version=bon_gateway.__version__,
        source=str(pools.source),
        base=base,
        n=kinds[base].pool,
        requests=len(pools.pools),
        prompts=len(groups.members),
        permutations=settings.permutations,
        confidence=settings.confidence,
        known_rewards=len(groups.with_reward),
        known_golds=len(groups.with_gold),
        rows=tuple(rows),
        setup={**_setup(settings, pools), **told_costs(costs)},
        warnings=(
            *warnings_of(pools, groups, rows, replays[base]),
            *of_comparing(comparing),
        ),
    )


def _check(name: str, kind: StrategySettings) -> None:
    try:
        kind.check()
    except SettingsError as error:
        key = f"strategies.{name}.{error.key}" if error.key else f"strategies.{name}"
        raise SettingsError("replay", key, error.reason) from None


def _with_base(
    settings: ReplaySettings, pools: PoolSet
) -> tuple[str, Mapping[str, StrategySettings]]:
    """The name of plain best-of-N, and all strategies with it among them."""
    size = len(pools.smallest.candidates)
    n = settings.n or 2 ** (size.bit_length() - 1)
    base = BestOfNSettings(type="best_of_n", n=n)
    for name, kind in settings.strategies.items():
        if kind == base:
            return name, settings.strategies
    name = f"best_of_n n={n}"
    if name in settings.strategies:
        raise SettingsError(
            "replay", f"strategies.{name}", "all are compared with the best_of_n of that name"
        )
    return name, {name: base, **settings.strategies}


def _beside(
    groups: PromptGroups, base: AnswerColumns, n: int, settings: ReplaySettings
) -> dict[str, AnswerColumns]:
    found = {RANDOM: of_random(groups, settings.token_ms / 1000)}
    oracle = of_oracle(groups, base, n)
    return found if oracle is None else {**found, ORACLE: oracle}


def _setup(settings: ReplaySettings, pools: PoolSet) -> dict[str, str]:
    sizes = sorted({len(pool.candidates) for pool in pools.pools})
    spread = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    return {
        "Pools": ", ".join(map(str, settings.pools)),
        "Recorded": f"{pools.source}; {pools.requests} requests were read",
        "Candidates": f"{spread} to draw for a request",
        **_chosen_by(settings),
        "Orders": f"{settings.permutations} of each pool, seed {settings.seed}",
        "Time": f"{settings.token_ms:g} ms a token of each candidate, {settings.reward_ms:g} ms a"
        " call to the reward model; the prompt is free, and no candidate slows another",
    }


def _chosen_by(settings: ReplaySettings) -> dict[str, str]:
    if not settings.rewards:
        return {}
    names = ", ".join(f"{one.name} (weight {one.weight:g})" for one in settings.rewards)
    return {"Chosen by": f"{settings.combine} of the recorded rewards {names}"}
