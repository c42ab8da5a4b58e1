"""An operator's own functions as verifiers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from bon_gateway.types import Message, RewardRequest
from bon_gateway.verdicts import Verdict, VerdictOutcome
from bon_gateway.verifiers.reward import VerifiersRewardSettings
from tests.bon_gateway.verifiers.support import MESSAGES, said, started, verdict

HERE = "tests.bon_gateway.verifiers.test_function"


def by_reference(
    messages: Sequence[Message], answers: Sequence[Message], metadata: dict[str, Any]
) -> list[bool]:
    return [answer["content"] == metadata["reference"] for answer in answers]


async def waiting(
    messages: Sequence[Message], answers: Sequence[Message], metadata: dict[str, Any]
) -> list[tuple[bool, str]]:
    await asyncio.sleep(0)
    return [(False, "too_green") for _ in answers]


GIVEN: list[Any] = []


def given(messages: Any, answers: Any, metadata: Any) -> Any:
    if GIVEN[0] is ValueError:
        raise ValueError("secret")
    return GIVEN


async def test_it_gets_the_metadata() -> None:
    section = {"type": "function", "function": f"{HERE}:by_reference"}
    assert (await verdict("7", metadata={"reference": "7"}, **section)).outcome == "pass"
    assert (await verdict("8", metadata={"reference": "7"}, **section)).outcome == "fail"


async def test_it_may_wait_and_say_why() -> None:
    found = await verdict("7", type="function", function=f"{HERE}:waiting")
    assert found == Verdict(VerdictOutcome.FAIL, "too_green")


@pytest.mark.parametrize(
    ("said_by_it", "outcome", "score"),
    [
        (True, "pass", None),
        (False, "fail", None),
        (None, "abstain", None),
        (0.7, "pass", 0.7),
        (0.4, "fail", 0.4),
        ((1, "well"), "pass", 1.0),
        (0, "fail", 0.0),
        (Decimal("0.75"), "pass", 0.75),
        (np.bool_(True), "pass", None),
        (np.bool_(False), "fail", None),
        ((np.bool_(False), "why"), "fail", None),
        (np.float32(0.5), "pass", 0.5),
        (np.array([0.25]), "fail", 0.25),
        ("0", "abstain", None),
        (["fail", "why"], "abstain", None),
        ({}, "abstain", None),
        ((None, "unsure"), "abstain", None),
        (float("nan"), "abstain", None),
        ("yes", "abstain", None),
        (ValueError, "abstain", None),
    ],
)
async def test_what_it_may_return(
    said_by_it: Any,
    outcome: str,
    score: float | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setitem(globals(), "GIVEN", [said_by_it])
    found = await verdict("7", type="function", function=f"{HERE}:given", pass_threshold=0.5)
    assert (found.outcome, found.score) == (outcome, score)
    assert "secret" not in caplog.text


async def test_a_wrong_count_is_an_abstention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "GIVEN", [True])
    async with started(type="function", function=f"{HERE}:given") as verifier:
        found = await verifier.verify(RewardRequest(MESSAGES), [said("a"), said("b")])
    assert [one.reason for one in found] == ["error", "error"]


@pytest.mark.parametrize("number", [0, 1, 0.7])
async def test_a_number_needs_a_threshold_to_decide(
    number: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "GIVEN", [number])
    section: dict[str, Any] = {"type": "function", "function": f"{HERE}:given"}
    found = await verdict("7", **section)
    assert found == Verdict(VerdictOutcome.ABSTAIN, "no_pass_threshold", number)
    reward = VerifiersRewardSettings.model_validate({"type": "verifiers", "verifiers": [section]})
    scores = await reward.build(None).score(RewardRequest(MESSAGES), [said("7")])
    assert scores.rewards == (number,)
    assert scores.missing is None


class _Waiting:
    async def __call__(self, messages: Any, answers: Any, metadata: Any) -> list[bool]:
        return [True for _ in answers]


called_like_one = _Waiting()


async def test_an_object_may_be_called_like_an_async_function() -> None:
    found = await verdict("7", type="function", function=f"{HERE}:called_like_one")
    assert found.outcome is VerdictOutcome.PASS
