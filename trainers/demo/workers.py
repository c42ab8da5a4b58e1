"""A few processes that run the steps of a plan, each as soon as what it needs is there.

Every process imports the heavy libraries once and then takes step after step. What a step prints
goes to a file of its own. If one fails, the others are ended and the error is raised here.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from trainers.base.errors import RunError, TrainersError

Outcome = dict[str, Any]
"""What a step measured, ready for JSON."""
POLL_S = 0.5
PATIENCE_S = 10.0
"""How long a process may take to end before it is killed."""
FEW_KERNELS = {"LRU_CACHE_CAPACITY": "16", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16"}
"""Environment of the processes. oneDNN keeps what it made for each of the last 1024 shapes that it
multiplied in bfloat16, and no two batches of texts have the same: a gigabyte that is never used
again."""
KIB = 1024 if sys.platform != "darwin" else 1
"""Bytes in the unit of ru_maxrss."""


@dataclass(frozen=True)
class Step:
    """One piece of work: a function that is called with `settings` in another process."""

    name: str
    function: str
    """`module:function`; the module is imported where it runs, and there alone."""
    settings: Any
    needs: tuple[str, ...] = ()
    """Names of the steps that must have ended."""
    progress: Callable[[], float] | None = None
    """How much of it is done, 0 to 1, as far as its files tell; called here, not in the process."""


@dataclass(frozen=True)
class Result:
    outcome: Outcome
    seconds: float
    cpu_seconds: float
    """Of all its threads; other work on the machine makes this no longer."""
    peak_bytes: int
    """The most memory that its process has held so far."""
    process: int


@dataclass
class Observer:
    """Hears of steps as they come and go; does nothing by itself."""

    def begun(self, step: Step) -> None: ...

    def ended(self, step: Step, result: Result) -> None: ...

    def waiting(self, running: Sequence[Step]) -> None: ...


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: connection.Connection
    step: Step | None = None


class _Plan:
    def __init__(self, steps: Sequence[Step]) -> None:
        chains = _chains(steps)
        # The sort is stable: of equal chains the earlier step comes first.
        self.waiting = sorted(steps, key=lambda step: -chains[step.name])
        self.results: dict[str, Result] = {}

    def next(self) -> Step | None:
        for step in self.waiting:
            if all(need in self.results for need in step.needs):
                self.waiting.remove(step)
                return step
        return None


def _chains(steps: Sequence[Step]) -> dict[str, int]:
    """How many steps stand behind each, one waiting for the other, on the longest such chain."""
    chains = {step.name: 0 for step in steps}
    for step in reversed(steps):
        for need in step.needs:
            chains[need] = max(chains[need], chains[step.name] + 1)
    return chains


def run_steps(
    steps: Sequence[Step], workers: int, logs: Path, observer: Observer
) -> dict[str, Result]:
    """Run all steps, `workers` at a time, those first that the longest chain of others waits for,
    so that no process is idle at the end; the results by name.

    A step's output goes to `logs/<name>.log`. Raises what a step raised, if it is a TrainersError;
    RunError for anything else, which names the log.
    """
    logs.mkdir(parents=True, exist_ok=True)
    _check(steps)
    plan = _Plan(steps)
    with _processes(min(workers, len(steps))) as pool:
        while plan.waiting or any(worker.step for worker in pool):
            for worker in pool:
                if worker.step is None and (step := plan.next()) is not None:
                    worker.step = step
                    worker.pipe.send((step.function, step.settings, str(_log(logs, step))))
                    observer.begun(step)
            busy = [worker for worker in pool if worker.step is not None]
            for ready in connection.wait([worker.pipe for worker in busy], POLL_S):
                worker = next(worker for worker in busy if worker.pipe is ready)
                step, worker.step = worker.step, None
                assert step is not None
                plan.results[step.name] = _receive(worker, step, logs)
                observer.ended(step, plan.results[step.name])
            observer.waiting([worker.step for worker in pool if worker.step is not None])
    return plan.results


def _check(steps: Sequence[Step]) -> None:
    """Every step needs only earlier ones, so none waits for ever."""
    known: set[str] = set()
    for step in steps:
        missing = set(step.needs) - known
        if missing or step.name in known:
            raise ValueError(f"step {step.name}: needs {sorted(missing)}, or is there twice")
        known.add(step.name)


def _log(logs: Path, step: Step) -> Path:
    return logs / f"{step.name}.log"


def _receive(worker: _Worker, step: Step, logs: Path) -> Result:
    try:
        received = worker.pipe.recv()
    except EOFError:
        received = "its process was killed"
    if isinstance(received, TrainersError):
        raise received
    if isinstance(received, str):
        raise RunError(f"step {step.name}: {received}; see {_log(logs, step)}")
    assert isinstance(received, Result)
    return received


@contextmanager
def _processes(count: int) -> Iterator[list[_Worker]]:
    pool = []
    context = multiprocessing.get_context("spawn")
    try:
        for _ in range(count):
            ours, theirs = multiprocessing.Pipe()
            process = context.Process(target=_work, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            pool.append(_Worker(process, ours))
        yield pool
    finally:
        for worker in pool:
            worker.pipe.close()
            if worker.step is not None:
                worker.process.terminate()
        for worker in pool:
            worker.process.join(PATIENCE_S)
            worker.process.kill()


def _work(pipe: connection.Connection) -> None:
    """What a process does: steps, until the pipe is closed."""
    # Read when a step first imports torch and multiplies.
    os.environ.update(FEW_KERNELS)
    # Told to stop, it leaves in an orderly way: libraries have things to give back to the system.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            function, settings, log = pipe.recv()
        except EOFError:
            return
        with Path(log).open("w", encoding="utf-8") as out:
            # Libraries write past sys.stdout too.
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
            pipe.send(_do(function, settings))
            sys.stdout.flush()
            sys.stderr.flush()


def _end_with_parent() -> None:
    """However it ended, nobody waits for this process any more, and a step can take minutes."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "it is a child"
    parent.join()
    os._exit(1)


def _do(function: str, settings: Any) -> Result | TrainersError | str:
    began, used = time.monotonic(), time.process_time()
    module, _, name = function.partition(":")
    try:
        outcome: Outcome = getattr(import_module(module), name)(settings)
    except TrainersError as error:
        return error
    except Exception as error:  # noqa: BLE001 - the process must tell the other side, whatever it is
        sys.excepthook(type(error), error, error.__traceback__)
        return f"{type(error).__name__}: {error}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
    took, computed = time.monotonic() - began, time.process_time() - used
    return Result(outcome, took, computed, peak, os.getpid())
