"""The course of a comparison against real loopback endpoints."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bon_gateway.compare.ask.progress import Progress
from bon_gateway.compare.ask.schedule import WARM_UP
from bon_gateway.compare.figures.latencies import CURVE_POINTS, answered_within
from bon_gateway.compare.types import ArmRecord, Key
from bon_gateway.testing.script import Step
from bon_gateway.testing.upstream import FakeUpstream
from tests.bon_gateway.compare.endpoints import best_of_n
from tests.bon_gateway.compare.support import compare, measure, settings_of


def arms(upstream: FakeUpstream, *sizes: int) -> dict[str, Any]:
    return {f"n-{n}": {"url": upstream.url, "model": "fake", "bon": {"n": n}} for n in sizes}


async def test_each_rate_is_a_phase(tmp_path: Path) -> None:
    async with FakeUpstream(best_of_n(tokens=3, scored=0)) as upstream:
        load = {"mode": "open", "rates": [200, 400], "warm_up": 0, "repeats": 2}
        results = await compare(settings_of(tmp_path, arms(upstream, 1, 2), prompts=5, load=load))
    assert results.planned == results.measured == 2 * 2 * 5 * 2
    for arm in results.arms:
        assert [(one.phase, one.requests) for one in arm.latency] == [
            ("open 200/s", 10),
            ("open 400/s", 10),
        ]
        assert all(one.quantiles["0.5"].value > 0 for one in arm.latency)


async def test_the_warm_up_is_in_no_figure(tmp_path: Path) -> None:
    """Its answers are as bad as can be, and the figures do not know."""
    good = best_of_n(tokens=3, scored=0)
    async with FakeUpstream() as upstream:
        upstream.script = lambda call: Step(status=500) if call.ordinal < 6 else good(call)
        settings = settings_of(
            tmp_path, arms(upstream, 1, 2), load={"warm_up": 3, "concurrency": 1}
        )
        measured = await measure(settings)
        results = await compare(settings)
    assert sum(r.key.phase == WARM_UP for r in measured.records) == 6
    assert [dict(arm.failures) for arm in results.arms] == [{}, {}]
    assert results.measured == 20


async def test_the_latency_of_n_stands_beside_the_slowest_of_n(tmp_path: Path) -> None:
    async with FakeUpstream(best_of_n(tokens=3, scored=0)) as upstream:
        settings = settings_of(tmp_path, arms(upstream, 1, 2), prompts=60)
        single, double = (await compare(settings)).arms
    assert single.latency[0].shift is None
    shift = double.latency[0].shift
    assert shift is not None
    # .5^(1/2) = .7071: the 43rd of 60 ordered single answers.
    assert shift["0.5"] == pytest.approx(single.latency[0].curve[42][0], abs=1e-3)


def test_a_latency_curve_of_many_has_few_points() -> None:
    key = Key("closed", "a", 0, 0)
    records = [ArmRecord(key, 0.0, 0.0, latency_s=i / 1000) for i in range(1, 1001)]
    records += [ArmRecord(key, 0.0, 0.0, 5.0, outcome="timeout")] * 1000
    curve = answered_within(records)
    assert len(curve) <= CURVE_POINTS
    assert curve[-1] == (1000.0, 0.5)
    assert all(share == pytest.approx(ms / 2000) for ms, share in curve)
    assert answered_within(records[1000:]) == ()


async def test_it_ends_by_itself_when_it_is_told_to(tmp_path: Path) -> None:
    """An endpoint that never answers: the run ends all the same, and says what it has."""
    prompts = tmp_path / "p.jsonl"
    prompts.write_text('{"prompt": "p"}\n')
    async with FakeUpstream(lambda call: Step(delay_s=600)) as upstream:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bon_gateway", "compare", "--url", upstream.url),
            *("--model", "fake", "--prompts", str(prompts), "--output", str(tmp_path / "out")),
            *("--set", "load.stop_after_s=0.5"),
            stderr=asyncio.subprocess.PIPE,
        )
        _, stderr = await process.communicate()
    assert process.returncode == 2
    assert "no prompt was asked of every arm yet" in stderr.decode()


async def test_one_endpoint_from_flags_alone(tmp_path: Path) -> None:
    prompts = tmp_path / "p.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"p{i}"}) + "\n" for i in range(4)))
    async with FakeUpstream(best_of_n(tokens=3, scored=0)) as upstream:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bon_gateway", "compare", "--url", upstream.url),
            *("--model", "fake", "--n", "1,4", "--prompts", str(prompts)),
            *("--output", str(tmp_path / "out"), "--set", "sampling.temperature=0.5"),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        assert upstream.requests == 3 * 2 + 3 * 4
        greedy = [call.body for call in upstream.calls if call.body["temperature"] == 0]
        assert [body["bon"]["n"] for body in greedy] == [1] * 6
        assert {call.body["temperature"] for call in upstream.calls} == {0.5, 0}
    lines = out.decode().splitlines()
    assert [line.split()[:3] for line in lines[1:3]] == [["n-1", "1", "4/4"], ["n-4", "4", "4/4"]]
    assert lines[5].split()[:3] == ["greedy", "1", "4/4"]


async def test_a_run_without_any_answer_fails(tmp_path: Path) -> None:
    prompts = tmp_path / "p.jsonl"
    prompts.write_text('{"prompt": "p"}\n')
    broken = Step(status=500, error={"message": "out of order"})
    async with FakeUpstream(lambda call: broken) as upstream:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bon_gateway", "compare", "--url", upstream.url),
            *("--model", "fake", "--prompts", str(prompts), "--output", str(tmp_path / "out")),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        _, stderr = await process.communicate()
    assert process.returncode == 1
    last = stderr.decode().splitlines()[-1]
    assert last.startswith("every request failed, the last with: ")
    assert last.endswith("answered 500.")
    assert (tmp_path / "out" / "report.html").exists()


async def test_keys_come_from_the_environment(tmp_path: Path) -> None:
    """An arm whose key is missing says so before the measurement, and goes on failing."""
    script = best_of_n(tokens=3, scored=0)
    said = io.StringIO()
    async with FakeUpstream(script, api_key="secret") as upstream:
        arm = {"url": upstream.url, "model": "fake"}
        arms = {"keyed": {**arm, "api_key_env": "ARM_KEY"}, "bare": arm}
        settings = settings_of(tmp_path, arms, prompts=3, load={"warm_up": 2})
        measured = await measure(settings, environ={"ARM_KEY": "secret"}, progress=Progress(said))
    outcomes = {arm: {r.outcome for r in measured.records if r.key.arm == arm} for arm in arms}
    assert outcomes == {"keyed": {"ok"}, "bare": {"unauthorized"}}
    assert said.getvalue().startswith("bare: every warm-up request failed: ")
    assert said.getvalue().count("\n") == 1
    assert "secret" not in (settings.output / "records.jsonl").read_text()
