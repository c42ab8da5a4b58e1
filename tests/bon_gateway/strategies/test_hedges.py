"""What `soft` and `pessimistic` have in common: chance decides, as far as the setting lets it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from bon_gateway.errors import BadRequestError, RewardError
from bon_gateway.protocols import Trace
from bon_gateway.sections.base import type_name
from bon_gateway.strategies.pessimistic import PessimisticSettings
from bon_gateway.strategies.referee import Referee
from bon_gateway.strategies.settings import DrawSettings
from bon_gateway.strategies.soft import SoftSettings
from bon_gateway.testing.fakes import FakePolicy, FakeReward
from bon_gateway.types import ChatRequest, Selection

Ask = Callable[..., ChatRequest]
Kind = type[DrawSettings]
KEYS: dict[Kind, str] = {SoftSettings: "reward_temperature", PessimisticSettings: "beta"}
"""The setting that says how much chance decides."""
pytestmark = pytest.mark.parametrize("kind", KEYS, ids=lambda kind: kind.__name__)


def settings_of(kind: Kind, chance: float, **more: Any) -> DrawSettings:
    name = type_name(kind)
    return kind.model_validate({"type": name, "n": 4, "retries": 0, KEYS[kind]: chance, **more})


async def run(
    kind: Kind, request: ChatRequest, reward: FakeReward, chance: float, **more: Any
) -> Selection:
    strategy = settings_of(kind, chance, **more).build(Referee())
    return await strategy.run(request, FakePolicy(), reward, Trace())


async def test_a_seed_repeats_the_choice(kind: Kind, ask: Ask) -> None:
    orders = []
    for seed in (*range(20), *range(20)):
        selection = await run(kind, ask(seed=seed, top=4), FakeReward(), 10.0)
        assert sorted(selection.winners) == [0, 1, 2, 3]
        orders.append(selection.winners)
    assert orders[:20] == orders[20:]
    assert len({order[0] for order in orders}) > 1
    assert selection.strategy == settings_of(kind, 10.0).type


async def test_without_a_seed_the_choice_varies(kind: Kind, ask: Ask) -> None:
    orders = {(await run(kind, ask(top=4), FakeReward(), 1e9)).winners for _ in range(12)}
    assert len(orders) > 1


async def test_where_chance_decides_nothing_the_best_wins(kind: Kind, ask: Ask) -> None:
    for seed in range(20):
        selection = await run(kind, ask(seed=seed, top=4), FakeReward(), 1e-6)
        assert selection.winners == (3, 2, 1, 0)


async def test_the_fallback_decides_where_the_reward_model_fails(kind: Kind, ask: Ask) -> None:
    for seed in range(10):
        selection = await run(kind, ask(seed=seed), FakeReward(failures=9), 1e9)
        assert (selection.winners, selection.degraded) == ((0,), ("reward_unavailable",))
    with pytest.raises(RewardError):
        await run(kind, ask(), FakeReward(failures=9), 1.0, fallback="error")


async def test_temperature_zero_draws_one(kind: Kind, ask: Ask) -> None:
    selection = await run(kind, ask(temperature=0.0, seed=5), FakeReward(), 1.0)
    assert (selection.n, selection.winners) == (1, (0,))
    with pytest.raises(BadRequestError, match="at temperature 0"):
        await run(kind, ask(temperature=0.0, top=2), FakeReward(), 1.0)


@pytest.mark.parametrize("chance", [0, -1, float("inf"), float("nan")])
def test_settings_that_are_refused(kind: Kind, chance: float) -> None:
    with pytest.raises(ValidationError, match=KEYS[kind]):
        settings_of(kind, chance)
