"""The matched N and the break-even of each tuned arm, against best-of-N of the base. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from bon_gateway.compare.figures.base_curve import BaseCurve
from bon_gateway.compare.figures.differences import difference
from bon_gateway.compare.figures.economics import break_even, mean_tokens, monthly, sensitivity
from bon_gateway.compare.figures.material import (
    TOO_MANY_LOST,
    Material,
    cost_column,
    prices,
    quality_column,
    tokens_of,
)
from bon_gateway.compare.figures.quality import matched_n
from bon_gateway.compare.figures.results import Difference, Tuned
from bon_gateway.compare.statistics import Interval

ONE_SAMPLE = "one sample of the base policy"


def tuned_figures(
    material: Material, curve: BaseCurve, name: str, training: float, same_as_base: str | None
) -> Tuned | None:
    """``same_as_base`` is why the arm is the base policy, if it is. None without prices or a score:
    then there is nothing to compare."""
    quality = quality_column(material, name, material.settings.quality.primary)
    own = cost_column(material, name)
    if quality is None or own is None or curve.costs is None:
        return None
    settings = material.settings
    matched = matched_n(curve.quality, quality, material.resamples)
    largest = max(curve.quality)
    compared = largest if math.isinf(matched.value) else int(matched.value)
    smallest = min(curve.quality)
    one = difference(
        material.resamples, (name, best_of(smallest)), quality, curve.quality[smallest]
    )
    undecided = _undecided(matched, smallest, same_as_base, one)
    broken = (
        _break_even(material, curve, quality, own, training, compared)
        if undecided is None
        else None
    )
    per_day = settings.requests_per_day
    retrains = settings.training[settings.arms[name].training or ""].retrains_per_month
    bon, tuned = fmean(curve.costs[compared]), fmean(own)
    rows: Mapping[str, float] = {}
    if broken is not None:
        rows = sensitivity(
            training,
            curve.candidate[compared],
            mean_tokens([tokens_of(record) for record in material.records[name] if record.metered]),
            (curve.price, prices(settings, settings.arms[name])),
            (compared, _known(matched.low, curve), _known(matched.high, curve)),
        )
    return Tuned(
        arm=name,
        training_money=training,
        matched_n=matched,
        compared_n=compared,
        bon_cost=material.resamples.mean(curve.costs[compared]),
        tuned_cost=material.resamples.mean(own),
        above_one=one,
        undecided=undecided,
        break_even=broken,
        days=None if broken is None else broken.map(lambda requests: requests / per_day),
        bon_month=monthly(bon, per_day),
        tuned_month=monthly(tuned, per_day, retrains * training),
        month_break_even=break_even(retrains * training, bon, tuned)
        if retrains and undecided is None
        else None,
        sensitivity=rows,
        sound=_sound(material, [name, *curve.arms.values()]),
    )


def best_of(n: int) -> str:
    """Best-of-N of the base policy, in words."""
    return ONE_SAMPLE if n == 1 else f"best-of-{n}"


def _undecided(
    matched: Interval, smallest: int, same_as_base: str | None, one: Difference
) -> str | None:
    """Why there is no break-even. Where the smallest N may already equal the tuned policy, training
    may have bought nothing that could pay for it."""
    if same_as_base is not None:
        return "it is the base policy"
    if matched.low > smallest:
        return None
    if one.difference.high < 0:
        return f"it is worse than {best_of(smallest)}"
    return f"{best_of(smallest)} may be as good"


def _break_even(
    material: Material,
    curve: BaseCurve,
    quality: Sequence[float],
    own: Sequence[float],
    training: float,
    compared: int,
) -> Interval:
    """Each resample of the prompts finds its own matched N, and its own costs at it."""
    assert curve.costs is not None, "the caller has asked"
    sizes = sorted(curve.quality)
    count = len(sizes)

    def requests(means: Sequence[float]) -> float:
        bon, costs, (wanted, tuned) = means[:count], means[count:-2], means[-2:]
        place = next((i for i, m in enumerate(bon) if m >= wanted), count - 1)
        return break_even(training, costs[place], tuned)

    columns = [*(curve.quality[n] for n in sizes), *(curve.costs[n] for n in sizes), quality, own]
    value = break_even(training, fmean(curve.costs[compared]), fmean(own))
    return material.resamples.interval(value, material.resamples.of_means(requests, columns))


def _known(n: float, curve: BaseCurve) -> int:
    return max(curve.quality) if math.isinf(n) else int(n)


def _sound(material: Material, arms: Sequence[str]) -> bool:
    primary = material.settings.quality.primary
    for arm in arms:
        records = material.records[arm]
        lost = sum(not r.ok or material.score(primary, r) is None for r in records)
        if lost > TOO_MANY_LOST * len(records):
            return False
    return True
