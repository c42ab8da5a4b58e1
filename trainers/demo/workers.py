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
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
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
    """One piece of work: a function that is called with `arguments` in another process."""

    name: str
    function: str
    """`module:function`; the module is imported where it runs, and there alone."""
    arguments: Mapping[str, Any]
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


class Observer:
    """Hears of steps as they come and go; does nothing by itself."""

    def begun(self, step: Step) -> None: ...

    def ended(self, step: Step, result: Result) -> None: ...

    def waiting(self, running: Sequence[Step]) -> None: ...


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
    chains = _chains(steps)
    # The sort is stable: of equal chains the earlier step comes first.
    waiting = sorted(steps, key=lambda step: -chains[step.name])
    running: dict[Future[Result], Step] = {}
    results: dict[str, Result] = {}
    with _processes(min(workers, len(steps))) as pool:
        while waiting or running:
            ready = [step for step in waiting if results.keys() >= set(step.needs)]
            for step in ready[: workers - len(running)]:
                waiting.remove(step)
                work = pool.submit(_work, step.function, step.arguments, _log(logs, step))
                running[work] = step
                observer.begun(step)
            for work in wait(running, POLL_S, FIRST_COMPLETED).done:
                result = _result(work, running[work], list(running.values()), logs)
                step = running.pop(work)
                results[step.name] = result
                observer.ended(step, result)
            observer.waiting(list(running.values()))
    return results


def _check(steps: Sequence[Step]) -> None:
    """Every step needs only earlier ones, so none waits for ever."""
    known: set[str] = set()
    for step in steps:
        missing = set(step.needs) - known
        if missing or step.name in known:
            raise ValueError(f"step {step.name}: needs {sorted(missing)}, or is there twice")
        known.add(step.name)


def _chains(steps: Sequence[Step]) -> dict[str, int]:
    """How many steps stand behind each, one waiting for the other, on the longest such chain."""
    chains = {step.name: 0 for step in steps}
    for step in reversed(steps):
        for need in step.needs:
            chains[need] = max(chains[need], chains[step.name] + 1)
    return chains


def _log(logs: Path, step: Step) -> Path:
    return logs / f"{step.name}.log"


def _result(work: Future[Result], step: Step, running: Sequence[Step], logs: Path) -> Result:
    error = work.exception()
    if error is None:
        return work.result()
    if isinstance(error, TrainersError):
        raise error
    reason = f"{type(error).__name__}: {error}"
    broken = [step]
    if isinstance(error, BrokenProcessPool):
        # One process took all others with it, and the pool does not say which one it was.
        broken, reason = list(running), "its process was killed"
    names = " or ".join(one.name for one in broken)
    places = " or ".join(str(_log(logs, one)) for one in broken)
    raise RunError(f"step {names}: {reason}; see {places}") from error


@contextmanager
def _processes(count: int) -> Iterator[ProcessPoolExecutor]:
    others = set(multiprocessing.active_children())
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, spawn, initializer=_prepare)
    try:
        yield pool
    except BaseException:
        ours = set(multiprocessing.active_children()) - others
        for process in ours:
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        for process in ours:
            process.join(PATIENCE_S)
            process.kill()
        raise
    pool.shutdown()


def _prepare() -> None:
    """What a process does first."""
    # Read when a step first imports torch and multiplies.
    os.environ.update(FEW_KERNELS)
    # Told to stop, it leaves in an orderly way: libraries have things to give back to the system.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # Ctrl-C reaches every process of the terminal; the first one then stops the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """However the parent ended, nothing waits for this process, and a step can take minutes."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "it is a child"
    parent.join()
    os._exit(1)


def _work(function: str, arguments: Mapping[str, Any], log: Path) -> Result:
    """What a process does for a step."""
    with log.open("w", encoding="utf-8") as out:
        # Libraries write past sys.stdout too.
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    began, used = time.monotonic(), time.process_time()
    module, _, name = function.partition(":")
    try:
        outcome: Outcome = getattr(import_module(module), name)(**arguments)
    except Exception:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
    took, computed = time.monotonic() - began, time.process_time() - used
    return Result(outcome, took, computed, peak, os.getpid())
