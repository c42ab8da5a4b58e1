from __future__ import annotations

import random
from typing import Any

import pytest

from bon_common.selection.pruning.probes import PartialFit
from bon_common.selection.pruning.rule import Standing, to_stop
from bon_common.selection.pruning.started import (
    PruningPlan,
    expected_tokens,
    left,
    matching_chance,
    plan,
)


def fit(correlation: float) -> PartialFit:
    return PartialFit(correlation, 1.0, 0.0, 1.0)


def planned(correlations: dict[int, float], **more: Any) -> PruningPlan:
    found = plan_of(correlations, **more)
    assert found is not None
    return found


def plan_of(
    correlations: dict[int, float],
    tokens: float = 400.0,
    *,
    spare: int = 6,
    least_chance: float | None = None,
) -> PruningPlan | None:
    return plan(
        {checkpoint: fit(correlation) for checkpoint, correlation in correlations.items()},
        tokens,
        n=16,
        spare=spare,
        least_correlation=0.5,
        least_chance=least_chance,
    )


def test_only_checkpoints_that_tell_enough_are_looked_at() -> None:
    found = planned({32: 0.4, 64: 0.5, 128: 0.7})
    assert [*found.fits] == [64, 128]


@pytest.mark.parametrize("correlations", [{}, {64: 0.49}, {64: -0.9}, {400: 0.9}, {1024: 0.9}])
def test_it_is_off_where_none_does(correlations: dict[int, float]) -> None:
    assert plan_of(correlations) is None


def test_fewer_are_started_where_the_first_checkpoint_is_late() -> None:
    assert planned({40: 0.5}).started == 22
    assert planned({200: 0.7}).started == 18


def test_it_is_off_where_it_would_save_too_little() -> None:
    assert planned({300: 0.95}).started == 18
    assert plan_of({360: 0.95}) is None
    assert plan_of({300: 0.6}) is None


def test_without_spare_candidates_nobody_may_be_stopped() -> None:
    assert plan_of({64: 0.9}, spare=0) is None
    found = planned({64: 0.9}, spare=0, least_chance=0.01)
    assert (found.started, found.least_chance) == (16, 0.01)


def test_expected_tokens_are_what_runs_between_checkpoints() -> None:
    assert expected_tokens([], 16, 6) == 22 / 16
    few = left(0.5, 1 / 8)
    assert few == pytest.approx(0.62, abs=1e-9)
    assert expected_tokens([(0.25, 0.5)], 16, 2) == pytest.approx(
        1.125 * (0.25 + 0.62 * 0.75), abs=1e-9
    )
    many, later = left(0.5, 3 / 8), left(0.8, 3 / 8)
    assert [many, later] == pytest.approx([0.44, 0.224], abs=1e-9)
    assert expected_tokens([(0.25, 0.5), (0.5, 0.8)], 16, 6) == pytest.approx(
        1.375 * (0.25 + 0.44 * 0.25 + 0.224 * 0.5), abs=1e-9
    )
    assert expected_tokens([(0.25, 0.8), (0.5, 0.5)], 16, 6) == pytest.approx(
        1.375 * (0.25 + 0.224 * 0.75), abs=1e-9
    )


def test_a_share_is_left_between_the_lines_and_never_more_than_all() -> None:
    assert left(0.0, 0.0) == left(0.0, 1 / 8) == 1.0
    assert left(0.5, 1 / 4) == pytest.approx((0.62 + 0.44) / 2, abs=1e-9)
    assert left(0.5, 9.0) == left(0.5, 3 / 8)


@pytest.mark.parametrize(("n", "spare"), [(16, 2), (16, 6), (8, 1), (8, 3)])
@pytest.mark.parametrize("correlation", [0.25, 0.5, 0.8])
def test_the_lines_are_near_what_the_rule_leaves(n: int, spare: int, correlation: float) -> None:
    source, known = random.Random(n), PartialFit(correlation, 1.0, 0.0, 1.0)
    kept, prompts = 0, 60
    for _ in range(prompts):
        partial = {index: source.gauss(0.0, 1.0) for index in range(n + spare)}
        standing = Standing(partial, passed=[*partial.values()])
        stopped = to_stop(standing, known, matching_chance(n, spare), n + spare)
        kept += n + spare - len(stopped or ())
    found = kept / (n + spare) / prompts
    assert found == pytest.approx(left(correlation, spare / n), abs=0.05 if n == 16 else 0.12)


def test_the_least_chance_is_a_share_of_an_equal_one() -> None:
    assert matching_chance(16, 6) == 0.53 / 16
    assert matching_chance(16, 60) == 0.53 / 16
    assert matching_chance(8, 3) == 0.53 / 8
    assert 0.40 < 16 * matching_chance(16, 2) < 0.41
    assert matching_chance(16, 0) == 0.0
