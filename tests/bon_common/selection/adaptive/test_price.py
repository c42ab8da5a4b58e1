"""The price, and by simulation what the whole rule costs and gains."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from bon_common.selection.adaptive.gain import GainModel, learn_gain
from bon_common.selection.adaptive.price import matching_price
from bon_common.selection.adaptive.stopping import PriceRule
from bon_common.selection.adaptive.waves import Waves
from tests.bon_common.selection.adaptive.draws import few_values, prompts

WAVES = Waves(first=4, size=4, cap=32)
FEW = prompts("gaussian", 60, WAVES.cap, seed=9)
"""So few that a price is rough; the tests of them look at which of two is larger."""


def learnt(draws: list[list[float]]) -> GainModel:
    model = learn_gain(draws)
    assert model is not None
    return model


@dataclass(frozen=True)
class Outcome:
    samples: float
    """Mean number of samples, and so on."""
    rounds: float
    lead: float
    """Of the best reward over best-of-``target``, as a share of what that gains over the mean."""
    over_one: float
    """Of the best reward over one sample."""


def play(rule: PriceRule, waves: Waves, target: int, draws: list[list[float]]) -> Outcome:
    samples = rounds = 0
    leads, gains, over_one = [], [], []
    for rewards in draws:
        for drawn in waves.ends():
            rounds += 1
            if not rule.worth_another(rewards[:drawn]):
                break
        samples += drawn
        best = max(rewards[:target])
        leads.append(max(rewards[:drawn]) - best)
        gains.append(best - math.fsum(rewards) / len(rewards))
        over_one.append(max(rewards[:drawn]) - rewards[0])
    count = len(draws)
    lead = math.fsum(leads) / math.fsum(gains)
    return Outcome(samples / count, rounds / count, lead, math.fsum(over_one) / count)


@pytest.mark.parametrize(
    ("shape", "most_samples", "most_rounds"),
    [("gaussian", 0.83, 3.4), ("exponential", 0.8, 3.3), ("uniform", 0.95, 3.8)],
)
def test_it_equals_best_of_16_with_fewer_samples(
    shape: str, most_samples: float, most_rounds: float
) -> None:
    draws = prompts(shape, 200, WAVES.cap, seed=1)
    model = learnt(draws)
    rule = PriceRule(model, matching_price(model, WAVES, 16, draws))
    outcome = play(rule, WAVES, 16, prompts(shape, 2000, WAVES.cap, seed=2))
    assert abs(outcome.lead) < 0.02
    assert outcome.samples <= most_samples * 16
    assert outcome.rounds <= most_rounds


def test_few_values_save_most() -> None:
    draws = few_values(200, WAVES.cap, seed=1)
    model = learnt(draws)
    rule = PriceRule(model, matching_price(model, WAVES, 16, draws))
    outcome = play(rule, WAVES, 16, few_values(2000, WAVES.cap, seed=2))
    assert abs(outcome.lead) < 0.02
    assert outcome.samples <= 0.7 * 16
    assert outcome.rounds <= 3


def test_it_is_the_highest_price_without_a_loss() -> None:
    draws = prompts("gaussian", 1024, WAVES.cap, seed=3)
    model = learnt(draws)
    price = matching_price(model, WAVES, 16, draws)
    assert play(PriceRule(model, price), WAVES, 16, draws).lead >= 0
    assert play(PriceRule(model, 1.01 * price), WAVES, 16, draws).lead < 0


def test_price_0_draws_up_to_the_cap() -> None:
    outcome = play(PriceRule(learnt(FEW), 0.0), WAVES, 32, FEW)
    assert (outcome.samples, outcome.rounds, outcome.lead) == (32, 8, 0)


@pytest.mark.parametrize("target", [16, 17, math.inf])
def test_a_target_at_the_cap_or_beyond_draws_up_to_the_cap(target: float) -> None:
    waves, model = replace(WAVES, cap=16), learnt(FEW)
    price = matching_price(model, waves, target, FEW)
    outcome = play(PriceRule(model, price), waves, 16, FEW)
    assert price == 0
    assert (outcome.samples, outcome.lead) == (16, 0)


@pytest.mark.parametrize("price", [0.01, 0.1, 1e6])
def test_at_no_price_it_is_worse_than_one_sample(price: float) -> None:
    assert play(PriceRule(learnt(FEW), price), WAVES, 16, FEW).over_one > 0.9


def test_the_price_is_in_the_unit_of_the_rewards() -> None:
    def changed(change: Callable[[float], float]) -> float:
        draws = [[change(reward) for reward in pool] for pool in FEW]
        return matching_price(learnt(draws), WAVES, 16, draws)

    assert changed(lambda r: 10 * r - 700) == pytest.approx(10 * changed(lambda r: r), rel=0.01)


def test_a_higher_target_has_a_lower_price() -> None:
    model = learnt(FEW)
    prices = [matching_price(model, WAVES, target, FEW) for target in (5, 8, 16, 28)]
    assert prices == sorted(prices, reverse=True)
    assert prices[-1] > 0


def test_where_nothing_is_gained_the_first_wave_is_enough() -> None:
    draws = [[1.0, 0.0] * 16] * 20
    model = learnt(draws)
    outcome = play(PriceRule(model, matching_price(model, WAVES, 16, draws)), WAVES, 16, draws)
    assert (outcome.samples, outcome.lead) == (4, 0)


def test_candidates_that_could_not_win_count_as_drawn() -> None:
    """Every second one could not win, so a wave of eight is a wave of four that could."""
    holed = [[reward for one in pool[:16] for reward in (None, one)] for pool in FEW]
    model = learnt(FEW)
    price = matching_price(model, Waves(8, 8, 32), 16, holed)
    half = matching_price(model, Waves(4, 4, 16), 8, [pool[:16] for pool in FEW])
    assert price == pytest.approx(half, rel=0.2)
    assert matching_price(model, WAVES, 16, [[None] * 32]) == 0
