"""The waves of ``pruning``: the rule by itself, and the strategy in virtual time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence

import pytest

from bon_common.selection.adaptive.gain import GainModel
from bon_common.selection.adaptive.log_linear import LogLinear
from bon_common.selection.adaptive.prior import NormalInverseGamma
from bon_common.selection.adaptive.stopping import PriceRule
from bon_common.selection.adaptive.waves import Waves
from bon_common.selection.pruning.believed import stand_ins
from bon_common.selection.pruning.probes import LEAST, PartialFit
from bon_common.selection.pruning.rule import Forecast
from bon_gateway.strategies.pruned_waves import PrunedWaves
from bon_gateway.strategies.waves import NextWave
from bon_gateway.testing.fakes import FakeHistory, completion
from bon_gateway.types import (
    PRUNED,
    Candidate,
    CandidateStatus,
    ChatRequest,
    Pruning,
    Stopped,
)
from tests.bon_gateway.strategies.test_pruning import POINT, learnt, pruned, run, seed_of

Ask = Callable[..., ChatRequest]
PRIOR = NormalInverseGamma(mean=3.0, strength=0.1, shape=5.0, scale=10.0)
# Its gain is what the prior alone says: the first feature's logarithm, and no other counts.
WEIGHTS = (1.0, *[0.0] * 6)
UNBOUNDED = tuple([(-1e9, 1e9)] * 7)
MODEL = GainModel(PRIOR, LogLinear(0.0, WEIGHTS, (0.0,) * 7, (1.0,) * 7, UNBOUNDED))
WAVES = Waves(first=4, size=2, cap=12)
FIT = PartialFit(0.8, 1.0, 0.5, 1.0)


def finished(index: int, reward: float | None, partial: float = 0.0) -> Candidate:
    partial_rewards = ((POINT, partial),)
    return Candidate(
        index,
        CandidateStatus.FINISHED,
        completion(),
        reward,
        10,
        partial_rewards=partial_rewards,
    )


def stopped(index: int, partial: float, point: int = POINT) -> Candidate:
    return Candidate(
        index, CandidateStatus.REJECTED, reason=PRUNED, partial_rewards=((point, partial),)
    )


def decide(candidates: Sequence[Candidate], price: float = 0.1) -> NextWave:
    rule = PrunedWaves(8, WAVES, PriceRule(MODEL, price), {POINT: FIT})
    return asyncio.run(rule(candidates))


DRAWN = [finished(0, 4.0, 3.0), finished(1, 2.0, 2.0), stopped(2, 0.0), stopped(3, -1.0)]


def gain() -> float:
    forecast = Forecast.of([3.0, 2.0, 0.0, -1.0], FIT)
    assert forecast is not None
    pruned_ones = stand_ins([forecast.belief(0.0), forecast.belief(-1.0)], 4.0)
    return MODEL.gain([4.0, 2.0, *pruned_ones])


def test_those_that_were_pruned_count_with_what_they_tell() -> None:
    assert decide(DRAWN, 0.99 * gain()) == NextWave(2, Stopped.CAP)
    assert decide(DRAWN, 1.01 * gain()) == NextWave(0, Stopped.PRICE)
    assert abs(MODEL.gain([4.0, 2.0]) - gain()) > 0.01


def test_one_that_ended_is_enough_beside_those_that_were_pruned() -> None:
    assert decide([DRAWN[0], *DRAWN[2:]], 1e9) == NextWave(0, Stopped.PRICE)


def test_the_first_wave_and_the_last() -> None:
    assert decide([]) == NextWave(4, Stopped.CAP)
    assert decide([*DRAWN, *[stopped(i, 0.0) for i in range(4, 12)]], 0.0).draw == 0
    without = PrunedWaves(8, WAVES, None, {})
    assert asyncio.run(without([])) == NextWave(8, Stopped.TARGET)
    assert asyncio.run(without([finished(i, 1.0) for i in range(8)])).draw == 0


@pytest.mark.parametrize(
    "candidates",
    [
        [finished(0, None), *DRAWN[1:]],
        [finished(0, math.nan), *DRAWN[1:]],
        [finished(0, 1e200), *DRAWN[1:]],
        [finished(0, 4.0)],
        [finished(0, 4.0), stopped(1, 1.0, point=99)],
    ],
    ids=["missing", "no number", "too large", "one alone", "nothing is told"],
)
def test_rewards_that_say_nothing_make_it_best_of_n(candidates: list[Candidate]) -> None:
    assert decide(candidates, 1e9) == NextWave(8 - len(candidates), Stopped.TARGET)


def known(price: float) -> FakeHistory:
    history = learnt(0.9)
    history.model, history.prices = MODEL, {9: price}
    return history


def test_it_stops_drawing_at_a_price_and_prunes_in_each_wave(ask: Ask) -> None:
    usual = seed_of(probing=False)
    selection = run(ask(seed=usual), known(1e9), wave=3, least_chance=0.05)
    assert (selection.n, selection.rounds, selection.stopped) == (6, 1, Stopped.PRICE)
    assert selection.pruning is Pruning.ON
    assert 0 < len(pruned(selection)) < 6
    history = known(0.0)
    selection = run(ask(seed=usual), history, wave=5, cap=16, least_chance=0.05)
    assert (selection.n, selection.rounds, selection.stopped) == (16, 3, Stopped.CAP)
    assert {index // 6 for index in pruned(selection)} == {0, 1}, "the last wave has the best"
    assert selection.winners == (15,)
    assert history.added == [], "what was pruned would make rewards look better than they are"


def test_before_the_price_is_known_it_draws_all_at_once_and_learns_both(ask: Ask) -> None:
    history = learnt(0.9, probes=LEAST - 1)
    history.wants = True
    selection = run(ask(seed=seed_of(probing=False)), history, wave=3)
    assert (selection.n, selection.rounds, selection.stopped) == (16, 1, Stopped.LEARNING)
    assert selection.pruning is Pruning.LEARNING
    assert history.added == [([float(i) for i in range(16)], 1600)]
    assert history.probes.enough
    # Where partial rewards are known and the price is not, nothing partial is scored.
    selection = run(ask(seed=seed_of(probing=False)), history, wave=3)
    assert (selection.n, selection.pruning) == (16, Pruning.LEARNING)
    assert not any(candidate.partial_rewards for candidate in selection.candidates)
    assert len(history.added) == 2


def test_where_no_price_is_learnt_it_is_best_of_n(ask: Ask) -> None:
    selection = run(ask(seed=seed_of(probing=False)), learnt(0.9), wave=3)
    assert (selection.n, selection.rounds, selection.stopped) == (8, 1, Stopped.TARGET)
    assert (selection.pruning, pruned(selection)) == (Pruning.LEARNING, [])


def test_what_is_drawn_to_learn_from_is_never_pruned(ask: Ask) -> None:
    history = known(1e9)
    history.wants = True
    selection = run(ask(seed=seed_of(probing=False)), history, wave=3)
    assert (selection.n, selection.stopped) == (16, Stopped.LEARNING)
    assert (selection.pruning, pruned(selection)) == (Pruning.LEARNING, [])
    assert len(history.added) == 1


def test_a_probe_draws_the_target_at_once(ask: Ask) -> None:
    selection = run(ask(seed=seed_of(probing=True)), known(1e9), wave=3)
    assert (selection.n, selection.rounds, selection.pruning) == (8, 1, Pruning.PROBING)


def test_where_partial_rewards_tell_nothing_it_is_adaptive(ask: Ask) -> None:
    history = known(1e9)
    history.probes = learnt(0.1).probes
    selection = run(ask(seed=seed_of(probing=False)), history, wave=3)
    assert (selection.n, selection.stopped) == (6, Stopped.PRICE)
    assert (selection.pruning, pruned(selection)) == (Pruning.OFF, [])
    assert history.added == [], "it was stopped by a look at its rewards"
