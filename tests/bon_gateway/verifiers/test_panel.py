"""The verifiers of one served model together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from bon_gateway.metrics import Metrics
from bon_gateway.types import Message, RewardRequest
from bon_gateway.verdicts import PASSED, Verdict, VerdictOutcome, abstained, failed
from bon_gateway.verifiers.panel import VerifierPanel
from bon_gateway.verifiers.verifier import Verifier
from tests.bon_gateway.verifiers.support import MESSAGES, said
from tests.waiting import until

REQUEST = RewardRequest(MESSAGES)


class Scripted(Verifier):
    def __init__(self, verdict: Verdict | None, *, asks: bool = False) -> None:
        self.asks = asks  # type: ignore[misc]
        self.verdict = verdict
        self.calls = 0
        self.open = False

    async def start(self) -> None:
        self.open = True

    async def close(self) -> None:
        self.open = False

    async def verify(self, request: RewardRequest, answers: Sequence[Message]) -> Sequence[Verdict]:
        self.calls += 1
        if self.verdict is None:
            await asyncio.Event().wait()
            raise AssertionError
        return [self.verdict for _ in answers]


class Broken(Verifier):
    async def verify(self, request: RewardRequest, answers: Sequence[Message]) -> Sequence[Verdict]:
        raise RuntimeError("an answer's secret")


def panel(metrics: Metrics | None = None, **verifiers: Verifier) -> VerifierPanel:
    return VerifierPanel("m", verifiers, "best", metrics or Metrics())


async def verdicts(panel: VerifierPanel) -> dict[str, Verdict]:
    found: dict[str, Verdict] = {}
    await panel.verify(REQUEST, said("x"), found)
    return found


async def test_all_are_asked() -> None:
    found = await verdicts(panel(a=Scripted(PASSED), b=Scripted(abstained("x"), asks=True)))
    assert found == {"a": PASSED, "b": abstained("x")}


async def test_no_server_is_asked_for_an_answer_that_has_failed() -> None:
    server = Scripted(PASSED, asks=True)
    found = await verdicts(panel(server=server, local=Scripted(failed("no"))))
    assert found == {"local": failed("no")}
    assert server.calls == 0


async def test_servers_are_asked_side_by_side_and_verdicts_are_known_as_they_come() -> None:
    slow = Scripted(None, asks=True)
    jury = panel(slow=slow, fast=Scripted(PASSED, asks=True))
    found: dict[str, Verdict] = {}
    asking = asyncio.ensure_future(jury.verify(REQUEST, said("x"), found))
    await until(lambda: "fast" in found)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    jury.give_up(found)
    assert found == {"fast": PASSED, "slow": abstained("deadline")}


async def test_what_has_failed_needs_no_further_verdict() -> None:
    found = {"a": failed("no")}
    panel(a=Scripted(PASSED), b=Scripted(PASSED)).give_up(found)
    assert found == {"a": failed("no")}


async def test_one_that_breaks_abstains_and_is_logged_without_its_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = await verdicts(panel(broken=Broken(), well=Scripted(PASSED)))
    assert found == {"broken": abstained("error"), "well": PASSED}
    assert "secret" not in caplog.text
    assert caplog.records[0].message == "an answer could not be verified"


async def test_metrics() -> None:
    metrics = Metrics()
    jury = panel(metrics, a=Scripted(PASSED), b=Scripted(failed("no")))
    await verdicts(jury)
    jury.give_up({})

    def count(verifier: str, outcome: VerdictOutcome) -> float | None:
        labels = {"model": "m", "verifier": verifier, "outcome": outcome}
        return metrics.registry.get_sample_value("bon_verdicts_total", labels)

    assert count("a", VerdictOutcome.PASS) == 1
    assert count("b", VerdictOutcome.FAIL) == 1
    assert count("a", VerdictOutcome.ABSTAIN) == 1
    labels = {"model": "m", "verifier": "a"}
    assert metrics.registry.get_sample_value("bon_verify_seconds_count", labels) == 1


async def test_it_opens_and_closes_them() -> None:
    verifier = Scripted(PASSED)
    jury = panel(a=verifier)
    await jury.start()
    assert verifier.open
    await jury.close()
    assert not verifier.open
