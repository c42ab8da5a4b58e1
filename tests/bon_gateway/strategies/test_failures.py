"""One line in the log for each request whose candidates failed, and no draw that cannot succeed."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from bon_gateway.errors import (
    GatewayError,
    NoUpstreamError,
    PolicyFailedError,
    PolicyRefusedError,
    PolicyUnreachableError,
)
from bon_gateway.protocols import Trace
from bon_gateway.strategies.best_of_n import BestOfN, BestOfNSettings
from bon_gateway.testing.fakes import Act, FakePolicy, FakeReward, completion
from bon_gateway.types import ChatRequest

Ask = Callable[..., ChatRequest]


async def run(ask: Ask, policy: FakePolicy, n: int = 8) -> None:
    strategy = BestOfN(BestOfNSettings(type="best_of_n", n=n))
    await strategy.run(ask(), policy, FakeReward(), Trace())


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [r.fields for r in caplog.records if r.getMessage() == "candidates failed"]  # type: ignore[attr-defined]


def all_fail(*outcomes: GatewayError) -> FakePolicy:
    return FakePolicy({index: Act(outcomes) for index in range(8)})


async def test_an_outage_is_one_line_a_request(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(PolicyUnreachableError):
        await run(ask, all_fail(PolicyUnreachableError("refused")))
    reason = {"code": "upstream_unavailable", "reason": "refused", "candidates": 16}
    assert lines(caplog) == [
        {"request_id": "request", "failed": 16, "again": 8, "reasons": [reason]}
    ]


async def test_with_no_upstream_up_nothing_is_drawn_again(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    policy = all_fail(NoUpstreamError("No upstream is up."))
    with pytest.raises(NoUpstreamError):
        await run(ask, policy)
    assert policy.attempts.total() == 8
    assert [line["again"] for line in lines(caplog)] == [0]


async def test_what_differs_stays_on_the_line_up_to_a_bound(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    acts = {i: Act([PolicyFailedError(f"reason {i}"), completion("fine")]) for i in range(1, 8)}
    await run(ask, FakePolicy(acts))
    (line,) = lines(caplog)
    assert (line["failed"], line["again"]) == (7, 7)
    assert isinstance(line["reasons"], list)
    assert len(line["reasons"]) == 5


async def test_a_refusal_is_told_at_debug_level_without_its_words(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(PolicyRefusedError):
        await run(ask, all_fail(PolicyRefusedError("the prompt says x", status=400)))
    (line,) = lines(caplog)
    assert line["reasons"] == [{"code": "upstream_refused", "reason": None, "candidates": 8}]
    assert {r.levelno for r in caplog.records if r.getMessage() == "candidates failed"} == {10}


async def test_all_well_is_no_line(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await run(ask, FakePolicy())
    assert lines(caplog) == []
