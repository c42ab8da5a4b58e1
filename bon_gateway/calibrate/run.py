"""A whole calibration on recorded candidates: from settings to results."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import bon_gateway
from bon_common.selection.spread import RewardSpread
from bon_common.settings.errors import SettingsError
from bon_gateway.calibrate.figures.curve import curve_points, over_optimisation
from bon_gateway.calibrate.figures.guarantees import Demand, good_from
from bon_gateway.calibrate.figures.measured import Hedges, MeasuredWays, guarantees, measured_ways
from bon_gateway.calibrate.figures.partial import partial_correlations
from bon_gateway.calibrate.figures.reasons import recommended
from bon_gateway.calibrate.figures.results import CalibrationResults, Guarantee, WayRow
from bon_gateway.calibrate.figures.rows import WayRows
from bon_gateway.calibrate.figures.warnings import warnings_of
from bon_gateway.calibrate.figures.ways import oracle_columns, sizes_up_to
from bon_gateway.calibrate.figures.within import reward_correlations, reward_spread
from bon_gateway.calibrate.gold import with_gold, with_reward_as_gold
from bon_gateway.calibrate.pools import CalibrationPrompts, calibration_prompts
from bon_gateway.calibrate.settings import CalibrateSettings
from bon_gateway.compare.statistics import Resamples
from bon_gateway.offline_rewards import RewardCost
from bon_gateway.replay.comparing import compares_anew, compares_by_name
from bon_gateway.replay.joint import known_of
from bon_gateway.replay.log import PlacedRequest, read_log
from bon_gateway.replay.pools import PoolSet, Source, pool_set
from bon_gateway.replay.rescored import rescored, told_costs
from bon_gateway.replay.warnings import of_comparing

SINGLE = "single"
ORACLE = "oracle"


def run(
    settings: CalibrateSettings,
    pools: Sequence[Path],
    tell: Callable[[str], None],
    environ: Mapping[str, str] = os.environ,
) -> CalibrationResults:
    """``tell`` takes a line before a step that takes time. Raises SettingsError for pools that
    cannot be read, do not belong together or cannot be calibrated on."""
    models: set[str] = set()
    found = pool_set(_noting(read_log(pools), models), settings.model, at_least=1)
    models = models if settings.model is None else {settings.model}
    comparing = _comparing(settings, found.source)
    costs: Mapping[str, RewardCost] = {}
    if settings.score_by:
        found, costs = rescored(found, settings.score_by, settings.output, environ, tell)
    if settings.gold_by is not None:
        found = with_gold(found, settings.gold_by)
    if settings.gold_reward is not None:
        found = with_reward_as_gold(found, settings.gold_reward)
    prompts = calibration_prompts(found, settings)
    n = _largest(prompts, settings)
    wave = min(settings.wave or max(1, n // 4), n)
    resamples = Resamples(
        len(prompts.pools), settings.resamples, settings.confidence, settings.seed
    )
    told = "with gold" if prompts.with_gold else "without gold"
    tell(f"calibrating on {len(prompts.pools)} prompts {told}, up to {n} candidates each")
    spread = reward_spread(prompts, resamples)
    correlations = reward_correlations(prompts, resamples)
    extract = None if settings.extract is None else settings.extract.model_dump(mode="json")
    hedges = Hedges(prompts, spread.within.value, extract)
    measured = measured_ways(hedges, n, wave, settings.tolerance, steady=comparing is None)
    sizes = sizes_up_to(n)
    columns = [measured.best.columns(size) for size in sizes]
    golds = [one.golds for one in columns if one.golds is not None]
    good = good_from(prompts, settings.good)
    demand = None if good is None else Demand(good, settings.risk, settings.confidence)
    promised: list[Guarantee] = []
    if demand is not None and comparing is None:
        promised += guarantees(prompts, n, wave, demand)
    return CalibrationResults(
        version=bon_gateway.__version__,
        source=str(found.source),
        model=min(models),
        requests=sum(map(len, prompts.pools)),
        prompts=len(prompts.pools),
        n=n,
        confidence=settings.confidence,
        spread=spread,
        correlations=tuple(correlations),
        partial=tuple(partial_correlations(prompts, resamples)),
        curve=curve_points(measured.best, n, resamples),
        over_optimisation=over_optimisation(golds, sizes, resamples) if golds else None,
        rows=tuple(_rows(measured, prompts, n, WayRows(columns[-1], golds, resamples))),
        guarantees=tuple(promised),
        recommended=recommended(measured, n, settings.tolerance, resamples),
        scales=_scales(found, settings),
        setup={**_setup(settings, pools, found, prompts, demand), **told_costs(costs)},
        warnings=(
            *_several(models),
            *_of_comparing(comparing),
            *warnings_of(found, prompts, spread, correlations, measured.widest),
        ),
    )


def _comparing(settings: CalibrateSettings, source: Source) -> str | None:
    """The reward that chooses, if it only compares the answers of one call. Raises
    SettingsError."""
    name = settings.chosen_by
    if name is None:
        return source.reward if source.compares else None
    return name if compares_by_name(name, settings.score_by, source) else None


def _of_comparing(name: str | None) -> Iterator[str]:
    if name is not None:
        yield from of_comparing([name])
        yield (
            "So good_enough and cascade were left out: they need a threshold that holds for every"
            " request. The gateway refuses them with this reward."
        )


def _scales(found: PoolSet, settings: CalibrateSettings) -> dict[str, RewardSpread]:
    """Scales of the rewards that candidates have by name. One that only compares has none to set:
    it depends on how many answers a call has, so the gateway learns it."""
    score_by = settings.score_by
    names = {
        name
        for pool in found.pools
        for one in pool.usable
        for name in one.rewards
        if name not in score_by or not compares_anew(name, score_by)
    }
    return {name: RewardSpread.of(known_of(found, name)) for name in sorted(names)}


def _noting(lines: Iterable[PlacedRequest], models: set[str]) -> Iterator[PlacedRequest]:
    """The same lines; ``models`` gets the served models that they name."""
    for line in lines:
        models.add(line.request.model)
        yield line


def _several(models: Collection[str]) -> Iterator[str]:
    if len(models) > 1:
        told = ", ".join(sorted(models))
        yield f"The pools are of several served models ({told}); the settings name the first."


def _largest(prompts: CalibrationPrompts, settings: CalibrateSettings) -> int:
    smallest = prompts.smallest
    if settings.n is None:
        return int(2 ** (smallest.bit_length() - 1))
    if settings.n > smallest:
        raise SettingsError(
            "settings", "n", f"{settings.n} is above the {smallest} candidates of the smallest"
            f" pool; --at-least {settings.n} leaves out smaller ones",
        )  # fmt: skip
    return settings.n


def _rows(
    measured: MeasuredWays, prompts: CalibrationPrompts, n: int, rows: WayRows
) -> Iterator[WayRow]:
    best = measured.best
    yield rows.row(SINGLE, best.settings(1), best.columns(1))
    yield rows.row(f"best_of_n n={n}", best.settings(n), best.columns(n))
    for way in measured.tuned:
        yield rows.tuned(measured.name(way), way)
    if prompts.with_gold:
        yield rows.row(ORACLE, None, oracle_columns(prompts, n))


def _setup(
    settings: CalibrateSettings,
    pools: Sequence[Path],
    found: PoolSet,
    prompts: CalibrationPrompts,
    demand: Demand | None,
) -> dict[str, str]:
    chosen_by = settings.chosen_by
    reward = "the recorded reward" if chosen_by is None else f"the reward {chosen_by}"
    told = {
        "Pools": ", ".join(map(str, pools)),
        "Recorded": f"{found.source}; {found.requests} requests were read",
        "Chosen by": reward,
        "Folds": f"{max(prompts.folds) + 1} of the prompts, seed {settings.seed}; each is measured"
        " with the parameter that the others chose",
        "May lose": f"{settings.tolerance:.0%} of the best strategy's gain over a single sample",
    }
    if demand is not None:
        told["Good"] = f"gold of {demand.good:g} or more"
    return told
