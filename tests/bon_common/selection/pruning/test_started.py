from __future__ import annotations

import pytest

from bon_common.selection.pruning.probes import PartialFit
from bon_common.selection.pruning.started import PruningPlan, matching_chance, plan


def fit(correlation: float) -> PartialFit:
    return PartialFit(correlation, 1.0, 0.0, 1.0)


def planned(correlations: dict[int, float], tokens: float = 400.0, **more: float) -> PruningPlan:
    found = plan_of(correlations, tokens, **more)
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
    assert found.started == 22


@pytest.mark.parametrize("correlations", [{}, {64: 0.49}, {64: -0.9}, {400: 0.9}, {1024: 0.9}])
def test_it_is_off_where_none_does(correlations: dict[int, float]) -> None:
    assert plan_of(correlations) is None


def test_fewer_are_started_where_the_first_checkpoint_is_late() -> None:
    assert planned({100: 0.9}).started == 22
    assert planned({101: 0.9}).started == 18
    assert planned({50: 0.4, 200: 0.9}).started == 18


def test_without_spare_candidates_nobody_may_be_stopped() -> None:
    assert plan_of({64: 0.9}, spare=0) is None
    assert plan_of({300: 0.9}, spare=2) is None
    found = planned({64: 0.9}, spare=0, least_chance=0.01)
    assert (found.started, found.least_chance) == (16, 0.01)


def test_the_least_chance_is_a_share_of_an_equal_one() -> None:
    assert matching_chance(16, 6) == 0.56 / 16
    assert matching_chance(16, 60) == 0.56 / 16
    assert matching_chance(8, 3) == 0.56 / 8
    assert 0.42 < 16 * matching_chance(16, 2) < 0.44
    assert matching_chance(16, 0) == 0.0
