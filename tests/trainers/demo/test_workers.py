from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.waiting import wait_until
from trainers.base.errors import DataError, RunError
from trainers.demo.workers import Observer, Outcome, Result, Step, run_steps


def here(function: Callable[..., Outcome]) -> str:
    return f"{__name__}:{function.__name__}"


def write(path: str, seconds: float = 0.0) -> Outcome:
    """Append a line to a file, after a while; the process and what the file held before."""
    time.sleep(seconds)
    before = Path(path).read_text() if Path(path).exists() else ""
    with Path(path).open("a") as out:
        out.write("x")
    print("printed")
    os.write(2, b"written past python\n")
    return {"before": before, "process": os.getpid()}


def refuse(place: str) -> Outcome:
    raise DataError(f"{place}: no good")


def break_off() -> Outcome:
    raise KeyError("gone")


def die() -> Outcome:
    os._exit(3)


@dataclass
class Heard(Observer):
    events: list[str] = field(default_factory=list)

    def begun(self, step: Step) -> None:
        self.events.append(f"begun {step.name}")

    def ended(self, step: Step, result: Result) -> None:
        self.events.append(f"ended {step.name}")

    def waiting(self, running: Sequence[Step]) -> None:
        if running and running[0].progress is not None:
            self.events.append(f"progress {running[0].progress()}")


def hang(path: str) -> Outcome:
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)
    return {}


def start_and_hang(path: str) -> Outcome:
    """Run a step that hangs, as the main process of a demo does."""
    steps = [Step("hang", here(hang), {"path": path})]
    run_steps(steps, 1, Path(path).parent / "inner", Observer())
    return {}


def test_what_the_longest_chain_waits_for_goes_first(tmp_path: Path) -> None:
    target = {"path": str(tmp_path / "out")}
    needs = {"leaf": (), "a": (), "b": ("a",), "c": ("b",), "beside": ("a",)}
    steps = [Step(name, here(write), target, needs=need) for name, need in needs.items()]
    heard = Heard()
    run_steps(steps, 1, tmp_path / "logs", heard)
    begun = [event for event in heard.events if event.startswith("begun")]
    assert begun == ["begun a", "begun b", "begun leaf", "begun c", "begun beside"]


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
        Step("first", here(write), {"path": path, "seconds": 0.3}),
        Step("second", here(write), {"path": path}, needs=("first",)),
        Step("third", here(write), {"path": path}, needs=("second",)),
    ]
    heard = Heard()
    results = run_steps(steps, 2, tmp_path / "logs", heard)
    assert [results[name].outcome["before"] for name in ("first", "second", "third")] == [
        "",
        "x",
        "xx",
    ]
    assert heard.events == [
        f"{what} {name}" for name in ("first", "second", "third") for what in ("begun", "ended")
    ]
    assert results["first"].seconds >= 0.3
    # It slept, which takes no processor.
    assert results["first"].seconds - results["first"].cpu_seconds > 0.29
    assert results["first"].peak_bytes > 10**6


def test_steps_run_side_by_side_in_processes_of_their_own(tmp_path: Path) -> None:
    steps = [
        Step(
            name,
            here(write),
            {"path": str(tmp_path / name), "seconds": 0.5},
            progress=lambda: 0.25,
        )
        for name in ("a", "b")
    ]
    heard = Heard()
    results = run_steps(steps, 2, tmp_path / "logs", heard)
    processes = {result.outcome["process"] for result in results.values()}
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert {result.process for result in results.values()} == processes
    assert heard.events[:2] == ["begun a", "begun b"]
    assert "progress 0.25" in heard.events


def test_what_a_step_prints_is_in_its_log(tmp_path: Path) -> None:
    run_steps(
        [Step("one", here(write), {"path": str(tmp_path / "f")})], 1, tmp_path / "logs", Observer()
    )
    text = (tmp_path / "logs" / "one.log").read_text()
    assert "printed\n" in text
    assert "written past python\n" in text


def test_a_users_error_comes_through_and_the_others_are_ended(tmp_path: Path) -> None:
    steps = [
        Step("slow", here(write), {"path": str(tmp_path / "f"), "seconds": 600.0}),
        Step("bad", here(refuse), {"place": "file.jsonl:3"}),
    ]
    with pytest.raises(DataError, match=r"^file.jsonl:3: no good$"):
        run_steps(steps, 2, tmp_path / "logs", Observer())
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize(
    ("function", "reason"), [(break_off, "KeyError: 'gone'"), (die, "its process was killed")]
)
def test_any_other_error_names_step_and_log(tmp_path: Path, function: Any, reason: str) -> None:
    with pytest.raises(RunError) as caught:
        run_steps([Step("one", here(function), {})], 1, tmp_path / "logs", Observer())
    assert str(caught.value) == f"step one: {reason}; see {tmp_path / 'logs' / 'one.log'}"


def test_a_plan_that_could_not_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="step a: needs"):
        run_steps(
            [Step("a", here(write), {}, ("b",)), Step("b", here(write), {})],
            1,
            tmp_path,
            Observer(),
        )
