"""The price, and by simulation what the whole rule costs and gains."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

import pytest

from bon_common.selection.adaptive.price import matching_price
from bon_common.selection.adaptive.prior import NormalInverseGamma, PromptRewards, fit
from bon_common.selection.adaptive.stopping import PriceRule
from bon_common.selection.adaptive.waves import Waves

PRIOR = NormalInverseGamma(mean=2.0, strength=0.1, shape=4.0, scale=4.0)
WAVES = Waves(first=4, size=4, cap=32)
FEW = 300
"""So few that a price is rough; these tests look at which of two is larger."""


@dataclass(frozen=True)
class Outcome:
    samples: float
    """Mean number of samples, and so on."""
    rounds: float
    lead: float
    """Of the best reward, over best-of-``target``."""
    noise: float
    """The standard error of ``lead``."""
    over_one: float
    """The same lead over one sample."""


def gaussian_prompts(count: int, samples: int, seed: int) -> list[list[float]]:
    """Equal spread; the prompts' means spread three times as far."""
    source = random.Random(seed)
    means = [source.gauss(0, 3) for _ in range(count)]
    return [[source.gauss(mean, 1) for _ in range(samples)] for mean in means]


def play(rule: PriceRule, waves: Waves, target: int, prompts: list[list[float]]) -> Outcome:
    samples = rounds = 0
    leads, over_one = [], []
    for rewards in prompts:
        for drawn in waves.ends():
            rounds += 1
            if not rule.worth_another(rewards[:drawn]):
                break
        samples += drawn
        best = max(rewards[:drawn])
        leads.append(best - max(rewards[:target]))
        over_one.append(best - rewards[0])
    count = len(prompts)
    lead = math.fsum(leads) / count
    noise = math.sqrt(math.fsum((x - lead) ** 2 for x in leads)) / count
    mean_over_one = math.fsum(over_one) / count
    return Outcome(samples / count, rounds / count, lead, noise, mean_over_one)


def test_it_equals_best_of_16_with_fewer_samples() -> None:
    earlier = [PromptRewards.of(rewards) for rewards in gaussian_prompts(200, 16, seed=1)]
    prior = fit(earlier)
    assert prior is not None
    rule = PriceRule(prior, matching_price(prior, WAVES, target=16))
    outcome = play(rule, WAVES, 16, gaussian_prompts(3000, WAVES.cap, seed=2))
    assert abs(outcome.lead) < 4 * outcome.noise
    assert outcome.noise < 0.01
    assert outcome.samples <= 0.85 * 16
    assert outcome.rounds <= 3.6


def test_price_0_draws_up_to_the_cap() -> None:
    prompts = gaussian_prompts(40, WAVES.cap, seed=3)
    outcome = play(PriceRule(PRIOR, 0.0), WAVES, 32, prompts)
    assert (outcome.samples, outcome.rounds, outcome.lead) == (32, 8, 0)


@pytest.mark.parametrize("target", [16, 17, math.inf])
def test_a_target_at_the_cap_or_beyond_draws_up_to_the_cap(target: float) -> None:
    waves = replace(WAVES, cap=16)
    price = matching_price(PRIOR, waves, target, FEW)
    outcome = play(PriceRule(PRIOR, price), waves, 16, gaussian_prompts(40, 16, seed=4))
    assert price == 0
    assert (outcome.samples, outcome.lead) == (16, 0)


@pytest.mark.parametrize("price", [0.01, 0.1, 1e6])
def test_at_no_price_it_is_worse_than_one_sample(price: float) -> None:
    prompts = gaussian_prompts(100, WAVES.cap, seed=5)
    assert play(PriceRule(PRIOR, price), WAVES, 16, prompts).over_one > 0.9


def test_the_price_is_in_the_unit_of_the_rewards() -> None:
    price = matching_price(PRIOR, WAVES, 16, FEW)
    tenfold = replace(PRIOR, mean=-700.0, scale=100 * PRIOR.scale)
    assert matching_price(tenfold, WAVES, 16, FEW) == pytest.approx(10 * price, rel=1e-9)


def test_a_higher_target_has_a_lower_price() -> None:
    prices = [matching_price(PRIOR, WAVES, target, FEW) for target in (5, 8, 16, 28)]
    assert prices == sorted(prices, reverse=True)
    assert prices[-1] > 0
