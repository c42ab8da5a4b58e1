from __future__ import annotations

import math
import random
from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bon_common.selection.adaptive.prior import NormalInverseGamma, PromptRewards, fit
from bon_common.selection.adaptive.student import density

PRIOR = NormalInverseGamma(mean=1.0, strength=0.5, shape=2.0, scale=3.0)
rewards_of_a_prompt = st.lists(st.floats(-50, 50), min_size=1, max_size=12)


def prompts(count: int, shape: float | None, samples: int, seed: int = 3) -> list[list[float]]:
    """Means spread three times as far as rewards within a prompt; None: equal variances."""
    source = random.Random(seed)
    found = []
    for _ in range(count):
        spread = 1.0 if shape is None else math.sqrt(shape / source.gammavariate(shape, 1))
        mean = source.gauss(0, 3 * spread)
        found.append([source.gauss(mean, spread) for _ in range(samples)])
    return found


def test_statistics() -> None:
    assert PromptRewards.of([1.0, 2.0, 6.0]) == PromptRewards(3, 3.0, 14.0)
    assert PromptRewards.of([7.0]) == PromptRewards(1, 7.0, 0.0)


@pytest.mark.parametrize("rewards", [[], [1.0, math.nan], [math.inf]])
def test_what_has_no_statistics_is_an_error(rewards: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one reward, and finite ones"):
        PromptRewards.of(rewards)


def test_a_posterior_by_hand() -> None:
    """Two samples 2 and 4: strength 2.5, mean (0.5 + 6) / 2.5, shape 3, and to the scale half of 2
    and half of 0.5 * 2 / 2.5 * (3 - 1)^2."""
    after = PRIOR.posterior(PromptRewards.of([2.0, 4.0]))
    assert astuple(after) == pytest.approx((2.6, 2.5, 3.0, 3 + 1 + 0.8), abs=1e-12)
    predictive = after.predictive()
    assert predictive.df == 6.0
    assert predictive.location == pytest.approx(2.6, abs=1e-12)
    assert predictive.scale == pytest.approx(math.sqrt(4.8 * 3.5 / (3 * 2.5)), abs=1e-12)


@given(rewards_of_a_prompt)
def test_one_by_one_is_all_at_once(rewards: list[float]) -> None:
    step = PRIOR
    for reward in rewards:
        step = step.posterior(PromptRewards.of([reward]))
    whole = PRIOR.posterior(PromptRewards.of(rewards))
    assert astuple(step) == pytest.approx(astuple(whole), rel=1e-9, abs=1e-9)


@given(rewards_of_a_prompt)
def test_the_likelihood_is_that_of_each_sample_after_those_before(rewards: list[float]) -> None:
    step, total = PRIOR, 0.0
    for reward in rewards:
        expected = step.predictive()
        z = (reward - expected.location) / expected.scale
        total += math.log(density(z, expected.df) / expected.scale)
        step = step.posterior(PromptRewards.of([reward]))
    constant = len(rewards) / 2 * math.log(2 * math.pi)
    found = PRIOR.log_likelihood([PromptRewards.of(rewards)])
    assert found == pytest.approx(total + constant, rel=1e-9, abs=1e-9)


def test_the_fit_finds_the_prior_of_the_prompts() -> None:
    known = [PromptRewards.of(rewards) for rewards in prompts(400, shape=3.0, samples=8)]
    found = fit(known)
    assert found is not None
    assert found.shape == pytest.approx(3.0, rel=0.3)
    assert found.scale / found.shape == pytest.approx(1.0, rel=0.15)
    assert 1 / math.sqrt(found.strength) == pytest.approx(3.0, rel=0.15)
    assert found.mean == pytest.approx(0.0, abs=0.5)
    truth = NormalInverseGamma(0.0, 1 / 9, 3.0, 3.0)
    assert found.log_likelihood(known) >= truth.log_likelihood(known)


def test_equal_variances_are_found() -> None:
    found = fit([PromptRewards.of(rewards) for rewards in prompts(300, shape=None, samples=8)])
    assert found is not None
    assert found.shape > 50
    assert found.scale / found.shape == pytest.approx(1.0, rel=0.1)


def test_stopping_early_does_not_bend_the_fit() -> None:
    """Each prompt stops at the first reward well above its mean so far. The plain mean of the
    variances of such prompts is off by a third, the fit is not."""
    stopped = []
    for rewards in prompts(400, shape=None, samples=16):
        seen = rewards[:2]
        for reward in rewards[2:]:
            seen.append(reward)
            if reward > math.fsum(seen) / len(seen) + 0.7:
                break
        stopped.append(PromptRewards.of(seen))
    plain = math.fsum(p.squares / (p.count - 1) for p in stopped) / len(stopped)
    assert plain > 1.1
    found = fit(stopped)
    assert found is not None
    assert found.scale / found.shape == pytest.approx(1.0, rel=0.08)


@given(st.floats(-3, 3), st.floats(0.01, 100))
def test_the_fit_follows_the_unit(shift: float, factor: float) -> None:
    drawn = prompts(12, shape=3.0, samples=4)
    plain = fit([PromptRewards.of(rewards) for rewards in drawn])
    moved = fit([PromptRewards.of([shift + factor * r for r in rewards]) for rewards in drawn])
    assert plain is not None
    assert moved is not None
    assert moved.shape == pytest.approx(plain.shape, rel=0.02)
    assert moved.scale == pytest.approx(plain.scale * factor**2, rel=0.02)
    assert moved.strength == pytest.approx(plain.strength, rel=0.02)


@pytest.mark.parametrize("rewards", [[[1.0], [2.0]], [[3.0, 3.0], [4.0, 4.0]], []])
def test_without_two_different_rewards_there_is_no_prior(rewards: list[list[float]]) -> None:
    assert fit([PromptRewards.of(of_a_prompt) for of_a_prompt in rewards]) is None
