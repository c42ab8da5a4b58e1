from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.trainers.demo.some_steps import break_off, die, refuse, start_and_hang, write
from tests.waiting import wait_until
from trainers.base.errors import DataError, RunError
from trainers.demo.workers import PlanStep, Result, run_steps


def here(function: Callable[..., dict[str, Any]]) -> str:
    return f"{function.__module__}:{function.__name__}"


def test_what_the_longest_chain_waits_for_goes_first(tmp_path: Path) -> None:
    target = {"path": str(tmp_path / "out")}
    needs = {"leaf": (), "a": (), "b": ("a",), "c": ("b",), "beside": ("a",)}
    steps = [PlanStep(name, here(write), target, needs=need) for name, need in needs.items()]
    results = run_steps(steps, 1, tmp_path / "logs")
    assert list(results) == ["a", "b", "leaf", "c", "beside"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    told = tmp_path / "pid"
    run = multiprocessing.get_context("spawn").Process(target=start_and_hang, args=(str(told),))
    run.start()
    wait_until(lambda: told.exists() and told.read_text() != "")
    worker = psutil.Process(int(told.read_text()))
    assert run.pid is not None
    os.kill(run.pid, number)
    run.join()
    try:
        wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.kill()


def test_a_step_waits_for_what_it_needs(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    steps = [
        PlanStep("first", here(write), {"path": path, "seconds": 0.3}),
        PlanStep("second", here(write), {"path": path}, needs=("first",)),
        PlanStep("third", here(write), {"path": path}, needs=("second",)),
    ]
    seen: list[tuple[list[str], list[str]]] = []

    def watch(running: Sequence[PlanStep], results: Mapping[str, Result]) -> None:
        now = ([step.name for step in running], list(results))
        if now not in seen:
            seen.append(now)

    results = run_steps(steps, 2, tmp_path / "logs", watch)
    assert [results[name].measured["before"] for name in ("first", "second", "third")] == [
        "",
        "x",
        "xx",
    ]
    assert seen == [
        (["first"], []),
        ([], ["first"]),
        (["second"], ["first"]),
        ([], ["first", "second"]),
        (["third"], ["first", "second"]),
        ([], ["first", "second", "third"]),
    ]
    assert results["first"].seconds >= 0.3
    # It slept, which takes no processor.
    assert results["first"].seconds - results["first"].cpu_seconds > 0.29
    assert results["first"].peak_bytes > 10**6


def test_steps_run_side_by_side_in_processes_of_their_own(tmp_path: Path) -> None:
    steps = [
        PlanStep(name, here(write), {"path": str(tmp_path / name), "seconds": 0.5}) for name in "ab"
    ]
    running: list[int] = []
    results = run_steps(steps, 2, tmp_path / "logs", lambda now, _: running.append(len(now)))
    assert running[0] == 2
    processes = {result.measured["process"] for result in results.values()}
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert {result.process for result in results.values()} == processes


def test_what_a_step_prints_is_in_its_log(tmp_path: Path) -> None:
    run_steps([PlanStep("one", here(write), {"path": str(tmp_path / "f")})], 1, tmp_path / "logs")
    text = (tmp_path / "logs" / "one.log").read_text()
    assert "printed\n" in text
    assert "written past python\n" in text


def test_a_users_error_comes_through_and_the_others_are_ended(tmp_path: Path) -> None:
    steps = [
        PlanStep("slow", here(write), {"path": str(tmp_path / "f"), "seconds": 600.0}),
        PlanStep("bad", here(refuse), {"place": "file.jsonl:3"}),
    ]
    with pytest.raises(DataError, match=r"^file.jsonl:3: no good$"):
        run_steps(steps, 2, tmp_path / "logs")
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize(
    ("function", "reason"), [(break_off, "KeyError: 'gone'"), (die, "its process was killed")]
)
def test_any_other_error_names_step_and_log(tmp_path: Path, function: Any, reason: str) -> None:
    with pytest.raises(RunError) as caught:
        run_steps([PlanStep("one", here(function), {})], 1, tmp_path / "logs")
    assert str(caught.value) == f"step one: {reason}; see {tmp_path / 'logs' / 'one.log'}"


def test_a_plan_that_could_not_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"step a: .* needs one that is not before it"):
        run_steps(
            [PlanStep("a", here(write), {}, ("b",)), PlanStep("b", here(write), {})], 1, tmp_path
        )
