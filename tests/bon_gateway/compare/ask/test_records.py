from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bon_common.settings.errors import SettingsError
from bon_gateway.compare.ask.records import RECORDS, appending, claim, plan_of, read_records
from bon_gateway.compare.ask.schedule import WARM_UP
from bon_gateway.compare.types import ArmRecord, Key, ListedCandidate
from bon_gateway.testing.script import Call, Step
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.compare.endpoints import best_of_n
from tests.bon_gateway.compare.support import measure, settings_of

RECORD = ArmRecord(
    Key("closed", "base", 3, 1),
    intended_s=1.0,
    sent_s=1.25,
    latency_s=0.75,
    text="hällo",
    candidates=(
        ListedCandidate("finished", 0.5, 3, "hällo"),
        ListedCandidate("failed", None, 0, None),
    ),
    timings_ms={"total": 3.0},
)


def test_they_come_back_as_they_were(tmp_path: Path) -> None:
    failed = replace(RECORD, outcome="timeout", error="too long", candidates=())
    with appending(tmp_path / RECORDS) as append:
        append(RECORD)
        append(failed)
    assert read_records(tmp_path / RECORDS) == [RECORD, failed]


def test_service_counts_from_sending() -> None:
    assert RECORD.service_s == 0.5


def test_a_line_that_was_cut_off_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / RECORDS
    with appending(path) as append:
        append(RECORD)
        append(RECORD)
    path.write_bytes(path.read_bytes()[:-20])
    assert read_records(path) == [RECORD]
    with appending(path) as append:
        append(RECORD)
    assert read_records(path) == [RECORD, RECORD]


@pytest.mark.parametrize(
    ("line", "reason"),
    [("{oh", "is no JSON"), ('{"a": 1}', "is no record of a comparison"), ("[]", "is no record")],
)
def test_what_is_no_record_is_said_with_its_line(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / RECORDS
    with appending(path) as append:
        append(RECORD)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(SettingsError, match=f"{RECORDS}:2: {reason}"):
        read_records(path)


PLAN = {"seed": 1, "prompts": ["a"], "arms": {"base": {"model": "m"}}}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"seed": 2}, "other seed"),
        ({"prompts": ["a", "b"]}, "other prompts"),
        ({"arms": {"base": {"model": "n"}}}, "another arm base"),
    ],
)
def test_a_folder_belongs_to_one_plan(tmp_path: Path, change: dict[str, Any], what: str) -> None:
    claim(tmp_path, PLAN, restart=False)
    (tmp_path / RECORDS).touch()
    claim(tmp_path, PLAN, restart=False)
    with pytest.raises(SettingsError, match=f"holds the records of {what}; --restart"):
        claim(tmp_path, {**PLAN, **change}, restart=False)
    claim(tmp_path, {**PLAN, **change}, restart=True)
    assert not (tmp_path / RECORDS).exists()


def test_arms_may_be_added_and_left_out(tmp_path: Path) -> None:
    claim(tmp_path, PLAN, restart=False)
    claim(tmp_path, {**PLAN, "arms": {"other": {"model": "o"}}}, restart=False)
    with pytest.raises(SettingsError, match="another arm base"):
        claim(tmp_path, {**PLAN, "arms": {"base": {"model": "n"}}}, restart=False)


def test_the_plan_is_what_decides_the_requests(tmp_path: Path) -> None:
    arms = {"a": {"url": "http://x", "model": "m"}}
    settings = settings_of(tmp_path, arms)
    dearer = {"a": {**arms["a"], "policy_price": {"input_per_million": 3.0}}}
    more = settings_of(tmp_path, dearer, requests_per_day=3, load={"concurrency": 9, "repeats": 2})
    other = settings_of(tmp_path, arms, sampling={"temperature": 0.1})
    assert plan_of(settings, []) == plan_of(more, [])
    assert plan_of(settings, []) != plan_of(other, [])


def test_a_broken_plan_is_said(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("oh")
    with pytest.raises(SettingsError, match="is no plan of a comparison"):
        claim(tmp_path, PLAN, restart=False)


async def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    """Nothing that was measured is asked again, and nothing is left out."""
    stop = asyncio.Event()
    answer = best_of_n(tokens=3, scored=0)

    def script(call: Call) -> Step:
        if call.ordinal == 12:
            stop.set()
        return answer(call)

    async with FakeUpstream(script) as upstream:
        arms = {name: {"url": upstream.url, "model": "fake"} for name in ("a", "b")}
        settings = settings_of(tmp_path, arms, load={"warm_up": 1, "concurrency": 2})
        first = await measure(settings, stop)
        assert not first.complete
        kept = len(first.records)
        assert 10 <= kept <= 14
        asked = upstream.requests
        second = await measure(settings)
        assert second.complete
        measured = Counter(r.key for r in second.records if r.key.phase != WARM_UP)
        assert len(measured) == second.planned == 20
        assert set(measured.values()) == {1}
        before = sum(r.key.phase != WARM_UP for r in first.records)
        assert upstream.requests - asked == 20 - before + 2
        asked = upstream.requests
        third = await measure(settings)
        assert upstream.requests == asked
        assert third.complete
