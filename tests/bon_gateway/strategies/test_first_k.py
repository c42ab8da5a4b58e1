"""The straggler cut-off."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bon_gateway.errors import BadRequestError, PolicyFailedError
from bon_gateway.protocols import Trace
from bon_gateway.strategies.first_k import FirstK, FirstKSettings
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion
from bon_gateway.types import CandidateStatus, ChatRequest

Ask = Callable[..., ChatRequest]
STRATEGY = FirstK(FirstKSettings(type="first_k", n=3, spare=2))


async def test_the_first_n_are_kept_and_the_rest_is_stopped(ask: Ask) -> None:
    policy = FakePolicy({1: Act(tokens_so_far=4), 4: Act(tokens_so_far=2)})
    selection = await STRATEGY.run(ask(), policy, FakeReward(), Trace())
    assert selection.n == 5
    assert selection.winners == (3,)
    assert policy.aborted == {1, 4}
    assert [c.status for c in selection.candidates if c.index in (1, 4)] == [
        CandidateStatus.REJECTED
    ] * 2
    assert selection.candidates[1].reason == "straggler"
    assert selection.usage.discarded_tokens == 6 + 6
    assert selection.degraded == ()


async def test_a_failed_candidate_takes_no_place_among_the_first(ask: Ask) -> None:
    policy = FakePolicy({0: Act((PolicyFailedError("x"),)), 4: Act()})
    strategy = FirstK(FirstKSettings(type="first_k", n=3, spare=2, retries=0))
    selection = await strategy.run(ask(), policy, FakeReward(), Trace())
    assert selection.winners == (3,)
    assert selection.degraded == ("candidates_failed",)


async def test_an_invalid_candidate_takes_no_place_among_the_first(ask: Ask) -> None:
    policy = FakePolicy({0: Act((completion(""),)), 4: Act()})
    selection = await STRATEGY.run(ask(), policy, FakeReward(), Trace())
    assert [c.status.value for c in selection.candidates] == [
        "invalid", "finished", "finished", "finished", "rejected",
    ]  # fmt: skip


async def test_the_client_may_ask_for_no_more_than_n(ask: Ask) -> None:
    with pytest.raises(BadRequestError):
        await STRATEGY.run(ask(top=4), FakePolicy(), FakeReward(), Trace())


async def test_temperature_zero_draws_one(ask: Ask) -> None:
    selection = await STRATEGY.run(ask(temperature=0.0), FakePolicy(), FakeReward(), Trace())
    assert selection.n == 1
