from __future__ import annotations

import math
import random

import pytest

from bon_common.selection.adaptive.gain import WALKS, learn_gain, shuffled
from bon_common.selection.adaptive.improvement import expected_improvement
from bon_common.selection.adaptive.prior import PromptRewards
from tests.bon_common.selection.adaptive.draws import few_values, prompts


def test_answers_that_are_right_or_wrong() -> None:
    """A quarter is right. After wrong ones alone the next is worth a quarter, after a right one
    nothing."""
    source = random.Random(1)
    draws = [[float(source.random() < 0.25) for _ in range(16)] for _ in range(200)]
    model = learn_gain(draws)
    assert model is not None
    assert model.gain([0.0] * 4) == pytest.approx(0.25, abs=0.03)
    assert model.gain([0.0, 1.0, 0.0, 0.0]) < 0.01


@pytest.mark.parametrize("seed", range(6))
def test_answers_that_are_nearly_always_right(seed: int) -> None:
    """Few prompts have anything to gain, so few rows say what a gain looks like."""
    source = random.Random(seed)
    chances = [source.betavariate(3.764, 0.26) for _ in range(128)]
    draws = [[float(source.random() < chance) for _ in range(8)] for chance in chances]
    model = learn_gain(draws)
    assert model is not None
    assert model.gain([1.0] * 4) < 0.01
    assert 0.01 < model.gain([0.0] * 4) < 1


def test_of_gaussian_rewards_it_is_what_the_prior_says() -> None:
    model = learn_gain(prompts("gaussian", 250, 32, seed=2))
    assert model is not None
    ratios = []
    for rewards in prompts("gaussian", 200, 8, seed=3):
        after = model.prior.posterior(PromptRewards.of(rewards)).predictive()
        exact = expected_improvement(max(rewards), after)
        ratios.append(math.log(model.gain(rewards) / exact))
    assert abs(math.fsum(ratios) / len(ratios)) < 0.1


@pytest.mark.parametrize("shape", ["exponential", "left_skewed", "uniform"])
def test_of_other_rewards_it_is_nearer_to_what_comes(shape: str) -> None:
    """Its mean is within a few percent of the true mean, where the Gaussian's is far off."""
    model = learn_gain(prompts(shape, 250, 32, seed=4))
    assert model is not None
    learnt, gaussian, true = [], [], []
    for rewards in prompts(shape, 400, 200, seed=5):
        seen, best = rewards[:8], max(rewards[:8])
        after = model.prior.posterior(PromptRewards.of(seen)).predictive()
        learnt.append(model.gain(seen))
        gaussian.append(expected_improvement(best, after))
        true.append(math.fsum(max(x - best, 0.0) for x in rewards[8:]) / 192)
    apart = abs(math.log(math.fsum(learnt) / math.fsum(true)))
    assert apart < 0.15
    assert abs(math.log(math.fsum(gaussian) / math.fsum(true))) > 2 * apart


def test_candidates_that_could_not_win_are_left_out() -> None:
    whole = few_values(80, 8, seed=6)
    holed = [[*pool[:3], None, *pool[3:]] for pool in whole]
    assert learn_gain(holed) == learn_gain(whole)


@pytest.mark.parametrize("draws", [[], [[1.0, 1.0]] * 9, [[1.0, None]] * 9])
def test_without_different_rewards_nothing_is_learnt(draws: list[list[float | None]]) -> None:
    assert learn_gain(draws) is None


def test_short_draws_teach_too() -> None:
    model = learn_gain(prompts("gaussian", 100, 3, seed=7))
    assert model is not None
    assert 0 < model.gain([0.0, 1.0]) < 2


def test_few_draws_are_taken_in_several_orders() -> None:
    draws = prompts("gaussian", 3, 8, seed=8)
    orders = shuffled(draws)
    assert orders[:3] == draws
    assert WALKS - 3 < len(orders) <= WALKS
    assert all(sorted(o) == sorted(draws[i % 3]) for i, o in enumerate(orders))  # type: ignore[type-var]
    assert orders[3] != draws[0]
    assert shuffled(draws) == orders
    assert shuffled([]) == []
