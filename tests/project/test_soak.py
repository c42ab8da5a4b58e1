"""The soak's judgement: what it must find wrong, and what it must not.

The soak itself is run by ``make bench-smoke``.
"""

from __future__ import annotations

import importlib
import json
import random
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from bon_gateway.testing.upstream import FakeUpstream

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    # The benchmarks are programs of one folder, which import each other by their names.
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("soak")


@pytest.fixture
def clients(soak: ModuleType) -> ModuleType:
    return importlib.import_module("soak_clients")


def samples(soak: ModuleType, leak_mb: float, more_descriptors: float) -> list[Any]:
    """Twenty of a server that leaks so much over all of them, is warm after the fifth, and was
    caught in the midst of something twice."""
    dice = random.Random(3)
    found = []
    for number in range(20):
        share = number / 19
        memory = 60 + leak_mb * share + dice.uniform(0, 0.5) - max(0, 5 - number)
        open_now = round(15 + more_descriptors * share) + (30 if number in (7, 18) else 0)
        found.append(soak.Sample(30.0 * number, memory + 20, memory, open_now))
    return found


def test_what_is_flat_is_found_flat(soak: ModuleType) -> None:
    figures, wrong = soak.flat(samples(soak, 0, 0), soak.LONG)
    assert wrong == []
    assert abs(figures["uss_mb"][1]) < 1
    assert figures["descriptors"] == [15, 0]


@pytest.mark.parametrize(
    ("leak_mb", "descriptors", "named"),
    [
        (10, 0, {"rss_mb", "uss_mb"}),
        (0, 8, {"descriptors"}),
        (6, 4, {"rss_mb", "uss_mb", "descriptors"}),
    ],
)
def test_what_grows_is_named(
    soak: ModuleType, leak_mb: float, descriptors: int, named: set[str]
) -> None:
    figures, wrong = soak.flat(samples(soak, leak_mb, descriptors), soak.LONG)
    assert {what.split()[0] for what in wrong} == named
    # The first quarter is the warm-up.
    assert figures["uss_mb"][1] == pytest.approx(leak_mb * 14 / 19, abs=1)


def test_lines_that_nothing_explains_are_named(
    soak: ModuleType, clients: ModuleType, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    expected = ["request", "candidates failed", "Upstream x is up", "stopping"]
    lines = [json.dumps({"level": "info", "message": message}) for message in expected]
    log.write_text("\n".join(["listening on http://127.0.0.1:1", *lines]))
    assert soak.wrong_lines(log) == []
    odd = [
        json.dumps({"level": "error", "message": "unexpected exception"}),
        json.dumps({"level": "info", "message": "request", "traceback": ["a.py:1"]}),
        json.dumps({"level": "info", "message": "request", "path": clients.SECRET}),
        "Segmentation fault",
    ]
    log.write_text("\n".join([*lines, *odd]))
    assert len(soak.wrong_lines(log)) == len(odd)


def test_what_is_still_in_flight_or_miscounted_is_named(
    soak: ModuleType, clients: ModuleType
) -> None:
    def metric(name: str, value: float, **labels: str) -> SimpleNamespace:
        return SimpleNamespace(name=name, value=value, labels=labels)

    outcome = clients.Outcome(left=2)
    outcome.statuses.update({200: 10, 502: 1})
    counted = [
        metric("bon_requests_total", 6, status="200", model="a"),
        metric("bon_requests_total", 5, status="200", model="b"),
        metric("bon_requests_total", 1, status="502"),
    ]
    idle = metric("bon_requests_in_flight", 0)
    assert soak.wrong_counts([*counted, idle], outcome) == []
    assert soak.wrong_counts([*counted, metric("bon_candidates_in_flight", 1)], outcome)
    assert soak.wrong_counts(counted[1:], outcome)
    assert soak.wrong_counts(counted[:2], outcome)
    assert soak.wrong_counts([*counted, counted[0]], outcome)


def test_an_outage_is_no_soak(soak: ModuleType, clients: ModuleType) -> None:
    outcome = clients.Outcome(left=1, degraded=1)
    outcome.statuses.update({200: 95, 502: 5, 400: 50})
    assert soak.wrong_answers(outcome) == []
    outcome.statuses[503] = 20
    assert len(soak.wrong_answers(outcome)) == 1
    assert soak.wrong_answers(clients.Outcome())


async def test_answers_that_break_the_contract_are_named(clients: ModuleType) -> None:
    """vLLM's own are such answers: they have no ``bon`` object, and no request's id."""
    async with FakeUpstream(model="one") as upstream:
        asking = clients.Clients(upstream.url, rate=100, leaving=0)
        await asking.run(0.4)
    outcome = asking.outcome
    assert outcome.sent == 40
    assert outcome.wrong.total() == 40
    assert "one: another request's id" in outcome.wrong
