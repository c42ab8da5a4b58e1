"""What a reader of a calibration must know before the figures. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bon_gateway.calibrate.figures.tuning import TunedWay
from bon_gateway.calibrate.figures.within import RewardVariation, WithinCorrelation
from bon_gateway.calibrate.pools import CalibrationPrompts
from bon_gateway.replay.pools import PoolSet
from bon_gateway.replay.warnings import left_out_candidates

FEW_PROMPTS = 100
MANY_TIES = 50.0
"""Different rewards for each 100 candidates."""
MUCH_EQUAL = 0.2
"""Share of prompts without any spread."""
FAR_APART = 3.0
"""Factor between the parameters of the folds."""


def warnings_of(
    found: PoolSet,
    prompts: CalibrationPrompts,
    spread: RewardVariation,
    correlations: Sequence[WithinCorrelation],
    tuned: Sequence[TunedWay],
) -> Iterator[str]:
    yield from _of_pools(found, prompts)
    yield from _of_rewards(spread, correlations)
    for way in tuned:
        yield from _of_parameter(way)


def _of_pools(found: PoolSet, prompts: CalibrationPrompts) -> Iterator[str]:
    count = len(prompts.pools)
    if count < FEW_PROMPTS:
        yield (
            f"{count} prompts are few: intervals are wide, and parameters are chosen on little."
            f" Record {FEW_PROMPTS} or more."
        )
    if not prompts.with_gold:
        yield (
            "No candidate has gold, so the reward model is taken at its word: neither whether N is"
            " too large nor how much to hedge can be known. Judge some answers, and add gold."
        )
    for reason, requests in prompts.left_out.items():
        if requests:
            yield f"{requests} requests {reason} were left out."
    yield from left_out_candidates(found)
    if found.invalid:
        yield f"{found.invalid} candidates recorded as invalid were left out: they cannot win."
    greedy = sum(pool.request.greedy for pool in found.pools)
    if greedy:
        yield f"{greedy} requests were recorded at temperature 0, where there is nothing to choose."


def _of_rewards(
    spread: RewardVariation, correlations: Sequence[WithinCorrelation]
) -> Iterator[str]:
    if spread.within.value == 0:
        yield "All candidates of each prompt have the same reward: it chooses nothing."
    elif spread.without_spread.value >= MUCH_EQUAL:
        share = spread.without_spread.value
        yield f"At {share:.0%} of the prompts all candidates have the same reward."
    if spread.distinct.value < MANY_TIES:
        yield (
            f"Of 100 candidates of a prompt {spread.distinct.value:.0f} have different rewards:"
            " answers repeat, or the reward is coarse. So KL is smaller than the formula for N."
        )
    for one in correlations:
        if one.name == "gold and reward" and one.correlation and one.correlation.high <= 0:
            yield "Within prompts reward does not rise with gold: do not choose by this reward."


def _of_parameter(way: TunedWay) -> Iterator[str]:
    values, key = way.tunable.values, way.tunable.key
    name, n = way.tunable.name, way.tunable.n
    low, high = min(way.of_folds), max(way.of_folds)
    if name != "good_enough" and low > 0 and high > FAR_APART * low:
        yield (
            f"{name}, n {n}: folds choose {key} from {low:g} to {high:g}, far apart: gold hardly"
            " depends on it, or there are too few prompts."
        )
    if way.value == way.tunable.plain:
        yield f"{name}, n {n}: {key} {way.value:g} is best, where it is plain best-of-{n}."
    elif name in ("soft", "pessimistic") and way.value == values[-1]:
        yield f"{name}, n {n}: the largest {key} is best: reward is of no use."
