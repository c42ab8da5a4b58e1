"""Best-of-Poisson: the number of candidates is drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import sqrt

import pytest
from pydantic import ValidationError

from bon_common.selection.poisson import poisson_chances
from bon_gateway.errors import BadRequestError
from bon_gateway.protocols import Trace
from bon_gateway.strategies.poisson import Poisson, PoissonSettings
from bon_gateway.strategies.referee import Referee
from bon_gateway.testing.fakes import FakePolicy, FakeReward
from bon_gateway.types import ChatRequest

Ask = Callable[..., ChatRequest]


def strategy(**values: float) -> Poisson:
    return PoissonSettings.model_validate({"type": "poisson", **values}).build(Referee())


async def test_the_best_of_as_many_as_it_says_wins(ask: Ask) -> None:
    numbers = set()
    for seed in range(8):
        policy, best = FakePolicy(), strategy(mu=3)
        said = best.drawn(ask(seed=seed))
        selection = await best.run(ask(seed=seed), policy, FakeReward(), Trace())
        assert selection.n == said == len(selection.candidates) == policy.attempts.total()
        # The rewards rise with the index.
        assert selection.winners == (said - 1,)
        assert (selection.strategy, selection.degraded) == ("poisson", ())
        numbers.add(said)
    assert len(numbers) > 2


def test_each_number_comes_as_often_as_its_chance(ask: Ask) -> None:
    draws, best = 4000, strategy(mu=2, n=4)
    found = Counter(best.drawn(ask(seed=seed)) for seed in range(draws))
    for number, chance in enumerate(poisson_chances(2, 4), start=1):
        spread = sqrt(chance * (1 - chance) / draws)
        assert found[number] / draws == pytest.approx(chance, abs=4 * spread)


def test_without_a_seed_the_request_s_id_decides(ask: Ask) -> None:
    best, messages = strategy(), ask().messages
    ids = [f"request {number}" for number in range(40)]
    requests = [ChatRequest(messages, {}, None, 1, request_id) for request_id in ids]
    numbers = [best.drawn(request) for request in requests]
    assert numbers == [best.drawn(request) for request in requests]
    assert len(set(numbers)) > 4


def test_the_cap_and_the_client_s_choices_bound_it(ask: Ask) -> None:
    best = strategy(mu=4, n=6)
    assert {best.drawn(ask(seed=seed)) for seed in range(200)} == {1, 2, 3, 4, 5, 6}
    assert {best.drawn(ask(seed=seed, top=5)) for seed in range(200)} == {5, 6}
    for seed in range(20):
        with pytest.raises(BadRequestError, match="at most 6"):
            best.drawn(ask(seed=seed, top=7))
    assert strategy(n=1).drawn(ask(seed=1)) == 1


async def test_temperature_zero_draws_one(ask: Ask) -> None:
    best = strategy(mu=50, n=60)
    assert best.drawn(ask(temperature=0.0)) == 1
    selection = await best.run(ask(temperature=0.0), FakePolicy(), FakeReward(), Trace())
    assert (selection.n, selection.winners) == (1, (0,))
    with pytest.raises(BadRequestError, match="at temperature 0"):
        best.drawn(ask(temperature=0.0, top=2))


async def test_min_candidates_above_the_number_waits_for_all(ask: Ask) -> None:
    best = strategy(mu=0.01, n=6, min_candidates=5, deadline_ms=60_000)
    selection = await best.run(ask(seed=0), FakePolicy(), FakeReward(), Trace())
    assert (selection.n, selection.degraded) == (1, ())


def test_limits_count_the_most(ask: Ask) -> None:
    settings = PoissonSettings(type="poisson", n=20)
    assert (settings.drawn, settings.pool) == (20, 20)


@pytest.mark.parametrize("mu", [0, -1, float("inf"), float("nan"), 10_001])
def test_settings_that_are_refused(mu: float) -> None:
    with pytest.raises(ValidationError, match="mu"):
        strategy(mu=mu)
