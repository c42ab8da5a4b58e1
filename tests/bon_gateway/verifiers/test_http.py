"""A verifier behind HTTP: every fault is an abstention that says why."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from bon_gateway.testing.script import Step, by_ordinal
from bon_gateway.testing.upstream import FakeUpstream
from bon_gateway.types import Caller, RewardRequest
from bon_gateway.verdicts import Verdict, VerdictOutcome
from tests.bon_gateway.verifiers.support import MESSAGES, said, started
from tests.waiting import until

RIGHT, WRONG = said("right"), said("wrong")
TOOLS = [{"type": "function", "function": {"name": "f"}}]


def hook(upstream: FakeUpstream, **section: Any) -> dict[str, Any]:
    return {"type": "http", "url": f"{upstream.url}/verify", **section}


async def test_verdicts_come_in_the_order_of_the_answers() -> None:
    async with FakeUpstream() as upstream, started(**hook(upstream)) as verifier:
        found = await verifier.verify(RewardRequest(MESSAGES), [RIGHT, WRONG])
    assert found == [
        Verdict(VerdictOutcome.PASS, None, 1.0),
        Verdict(VerdictOutcome.FAIL, "is_wrong", 0.0),
    ]


async def test_it_gets_the_conversation_one_answer_and_the_metadata() -> None:
    caller = Caller("request-1", {"traceparent": "00-1"})
    request = RewardRequest(MESSAGES, TOOLS, caller, metadata={"reference": "7"})
    section = {"api_key_env": "HOOK_KEY"}
    async with (
        FakeUpstream(api_key="secret") as upstream,
        started(key="secret", **hook(upstream, **section)) as verifier,
    ):
        await verifier.verify(request, [RIGHT])
    [call] = upstream.calls
    assert call.body == {
        "messages": MESSAGES,
        "tools": TOOLS,
        "metadata": {"reference": "7"},
        "answers": [RIGHT],
    }
    assert call.headers["x-request-id"] == "request-1"
    assert call.headers["traceparent"] == "00-1"


TWO = orjson.dumps({"verdicts": [{"outcome": "pass"}, {"outcome": "pass"}]})
HUGE = orjson.dumps({"verdicts": [{"outcome": "pass", "reason": "x" * 10_000}]})


@pytest.mark.parametrize(
    ("step", "reason", "asked"),
    [
        (Step(status=500, error="boom"), "status_500", 2),
        (Step(status=429, headers={"retry-after": "0"}), "status_429", 2),
        (Step(status=503), "status_503", 2),
        (Step(status=400, error="no"), "status_400", 1),
        (Step(status=401), "status_401", 1),
        (Step(status=302, headers={"location": "/elsewhere"}), "status_302", 1),
        (Step(raw=b"not json"), "unusable_answer", 1),
        (Step(raw=b"[]"), "unusable_answer", 1),
        (Step(raw=b'{"verdicts": []}'), "unusable_answer", 1),
        (Step(raw=TWO), "unusable_answer", 1),
        (Step(raw=b'{"verdicts": [{"outcome": "maybe"}]}'), "unusable_answer", 1),
        (Step(raw=b'{"verdicts": [{"outcome": "pass", "score": "1"}]}'), "unusable_answer", 1),
        (Step(raw=b'{"verdicts": [{"outcome": "pass", "score": 1e999}]}'), "unusable_answer", 1),
        (Step(raw=b'{"verdicts": ' + b"[" * 4000), "unusable_answer", 1),
        (Step(raw=b"\xff"), "unusable_answer", 1),
        (Step(raw=HUGE), "unusable_answer", 1),
        (Step(cut_after=0), "unreachable", 2),
        (Step(cut_after=1), "cut_off", 2),
        (Step(delay_s=30), "timeout", 1),
    ],
)  # fmt: skip
async def test_a_fault_is_an_abstention(step: Step, reason: str, asked: int) -> None:
    async with (
        FakeUpstream(lambda _: step) as upstream,
        started(**hook(upstream, timeout_s=0.5, max_answer_bytes=5000)) as verifier,
    ):
        [found] = await verifier.verify(RewardRequest(MESSAGES), [RIGHT])
        assert upstream.requests == asked
    assert found == Verdict(VerdictOutcome.ABSTAIN, reason)


async def test_a_hook_that_is_down_is_said_once_and_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    upstream = FakeUpstream()
    await upstream.start()
    await upstream.stop()
    async with started(**hook(upstream, retries=0)) as verifier:
        for _ in range(3):
            [found] = await verifier.verify(RewardRequest(MESSAGES), [RIGHT])
            assert found.reason == "unreachable"
        await upstream.start()
        [found] = await verifier.verify(RewardRequest(MESSAGES), [RIGHT])
        assert found.outcome is VerdictOutcome.PASS
        await upstream.stop()
    lines = [record.message for record in caplog.records if "verifier" in record.message]
    assert len(lines) == 2
    assert "cannot verify: No connection" in lines[0]
    assert f"'http' at {upstream.host}:" in lines[0]
    assert "answers again" in lines[1]


@pytest.mark.parametrize("first", [Step(status=500), Step(status=429), Step(cut_after=0)])
async def test_what_may_pass_is_asked_for_again(first: Step) -> None:
    async with FakeUpstream(by_ordinal(first)) as upstream, started(**hook(upstream)) as verifier:
        [found] = await verifier.verify(RewardRequest(MESSAGES), [RIGHT])
    assert found.outcome is VerdictOutcome.PASS
    assert upstream.requests == 2


async def test_only_so_many_calls_are_in_flight() -> None:
    gate = asyncio.Event()
    async with (
        FakeUpstream(lambda _: Step(hold=gate)) as upstream,
        started(**hook(upstream, at_once=3)) as verifier,
    ):
        asking = asyncio.ensure_future(verifier.verify(RewardRequest(MESSAGES), [RIGHT] * 8))
        await until(lambda: upstream.running == 3)
        gate.set()
        assert len(await asking) == 8
    assert upstream.max_running == 3


async def test_cancelling_stops_the_calls() -> None:
    never = asyncio.Event()
    async with (
        FakeUpstream(lambda _: Step(hold=never)) as upstream,
        started(**hook(upstream)) as verifier,
    ):
        asking = asyncio.ensure_future(verifier.verify(RewardRequest(MESSAGES), [RIGHT] * 4))
        await until(lambda: upstream.running == 4)
        asking.cancel()
        await until(lambda: upstream.running == 0)
        assert upstream.aborted == 4


async def test_a_long_reason_is_cut() -> None:
    raw = orjson.dumps({"verdicts": [{"outcome": "fail", "reason": "x" * 1000}]})
    async with (
        FakeUpstream(lambda _: Step(raw=raw)) as upstream,
        started(**hook(upstream)) as verifier,
    ):
        [found] = await verifier.verify(RewardRequest(MESSAGES), [RIGHT])
    assert found.reason == "x" * 200
