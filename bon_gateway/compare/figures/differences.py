"""Paired differences: what one choice of answers has more than another at the same prompts.

The intervals of two means may overlap while their difference is clear, because a hard prompt is
hard for both; so nothing is decided by two intervals that overlap. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from bon_gateway.compare.figures.choices import ChoiceColumns
from bon_gateway.compare.figures.material import Material, quality_column
from bon_gateway.compare.figures.results import Difference
from bon_gateway.compare.greedy import greedy_of
from bon_gateway.compare.statistics import Interval, Resamples, prompts_to_decide

Columns = Mapping[str, Sequence[float]]
"""For each arm its quality at each prompt."""


def random_of(arm: str) -> str:
    return f"random choice of {arm}"


def oracle_of(arm: str) -> str:
    return f"oracle of {arm}"


def quality_columns(material: Material) -> dict[str, list[float]]:
    """Of every arm that has a score, by the primary scorer."""
    primary = material.settings.quality.primary
    found = {arm: quality_column(material, arm, primary) for arm in material.settings.arms}
    return {arm: column for arm, column in found.items() if column is not None}


def difference(
    resamples: Resamples,
    names: tuple[str, str],
    ours: Sequence[float],
    theirs: Sequence[float],
) -> Difference:
    """Decided where the interval leaves out zero."""
    column = [one - other for one, other in zip(ours, theirs, strict=True)]
    found = resamples.mean(column)
    decided = found.low > 0 or found.high < 0
    needed = None if decided else prompts_to_decide(column, resamples.confidence)
    return Difference(*names, found, len(column), decided, needed)


def differences(
    material: Material, columns: Columns, choices: Mapping[str, ChoiceColumns]
) -> list[Difference]:
    """Every arm against the arm ``against``, against greedy decoding, and against the best arm;
    and every arm of several candidates against random choice and the oracle of the same."""
    every = {**columns}
    for arm, choice in choices.items():
        every[random_of(arm)], every[oracle_of(arm)] = choice.random, choice.oracle
    pairs = dict.fromkeys(_pairs(material, columns, choices))
    return [
        difference(material.resamples, pair, every[pair[0]], every[pair[1]])
        for pair in pairs
        if pair[0] in every and pair[1] in every and pair[0] != pair[1]
    ]


def _pairs(
    material: Material, columns: Columns, choices: Mapping[str, ChoiceColumns]
) -> Iterator[tuple[str, str]]:
    best = max(columns, key=lambda arm: fmean(columns[arm]), default=None)
    for arm in columns:
        yield arm, material.settings.against
        greedy = greedy_of(material.settings, arm)
        if greedy is not None:
            yield arm, greedy
        if arm in choices:
            yield arm, random_of(arm)
            yield oracle_of(arm), arm
        if best is not None:
            yield best, arm


def way_to_oracle(
    resamples: Resamples,
    ours: Sequence[float],
    greedy: Sequence[float],
    oracle: Sequence[float],
) -> Interval | None:
    """The share of the way from greedy decoding to the oracle that the arm has made. None unless
    the oracle is above greedy in nearly every resample: else the share means nothing."""

    def share(means: Sequence[float]) -> float:
        own, below, above = means
        return (own - below) / (above - below)

    room = resamples.mean([high - low for high, low in zip(oracle, greedy, strict=True)])
    drawn = resamples.of_means(lambda means: means[2] - means[1], (ours, greedy, oracle))
    if room.low <= 0 or min(drawn) <= 0:
        return None
    columns = (ours, greedy, oracle)
    return resamples.interval(
        share([fmean(column) for column in columns]), resamples.of_means(share, columns)
    )
