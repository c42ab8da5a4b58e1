"""Runs the steps of a plan in a few processes, each as soon as what it needs is there.

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
class PlanStep:
    """One piece of work: a function that is called with `arguments` in another process."""

    name: str
    function: str
    """`module:function`. Only the process that runs the step imports the module."""
    arguments: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    """Names of earlier steps that must have ended."""
    progress: Callable[[], float] | None = None
    """The share that is done, 0 to 1, by the files of the step; called in the main process."""


@dataclass(frozen=True)
class Result:
    """What a step returned, and what it cost."""

    measured: dict[str, Any]
    """Ready for JSON."""
    seconds: float
    cpu_seconds: float
    """Of all its threads; other work on the machine does not lengthen it."""
    peak_bytes: int
    """The most memory that its process has held so far."""
    process: int


Watch = Callable[[Sequence[PlanStep], Mapping[str, Result]], None]
"""Called whenever a step begins or ends, and every half second: running steps, results so far."""


def run_steps(
    steps: Sequence[PlanStep], workers: int, logs: Path, watch: Watch = lambda *_: None
) -> dict[str, Result]:
    """Run all steps, `workers` at a time; the results by name, in the order in which steps ended.

    Steps with the longest chain of others behind them go first, so that no process is idle at the
    end. A step's output goes to `logs/<name>.log`. Raises what a step raised, if it is a
    TrainersError; RunError for anything else, which names the log.
    """
    logs.mkdir(parents=True, exist_ok=True)
    chains: dict[str, int] = {}
    for step in steps:
        if step.name in chains or not chains.keys() >= set(step.needs):
            raise ValueError(
                f"step {step.name}: is there twice, or needs one that is not before it"
            )
        chains[step.name] = 0
    for step in reversed(steps):
        for need in step.needs:
            chains[need] = max(chains[need], chains[step.name] + 1)
    # The sort is stable: of equal chains the earlier step comes first.
    waiting = sorted(steps, key=lambda step: -chains[step.name])
    running: dict[Future[Result], PlanStep] = {}
    results: dict[str, Result] = {}
    with _processes(min(workers, len(steps))) as pool:
        while waiting or running:
            ready = [step for step in waiting if results.keys() >= set(step.needs)]
            for step in ready[: workers - len(running)]:
                waiting.remove(step)
                log = logs / f"{step.name}.log"
                running[pool.submit(_work, step.function, step.arguments, log)] = step
            watch(list(running.values()), results)
            for future in wait(running, POLL_S, FIRST_COMPLETED).done:
                error = future.exception()
                if error is not None:
                    raise _told(error, running[future], list(running.values()), logs) from error
                results[running.pop(future).name] = future.result()
            watch(list(running.values()), results)
    return results


def _told(
    error: BaseException, step: PlanStep, running: Sequence[PlanStep], logs: Path
) -> BaseException:
    """The error as the user reads it."""
    if isinstance(error, TrainersError):
        return error
    reason, suspects = f"{type(error).__name__}: {error}", [step.name]
    if isinstance(error, BrokenProcessPool):
        # One process took all others with it, and the pool does not say which one it was.
        reason, suspects = "its process was killed", [one.name for one in running]
    places = " or ".join(str(logs / f"{name}.log") for name in suspects)
    return RunError(f"step {' or '.join(suspects)}: {reason}; see {places}")


@contextmanager
def _processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """A pool that leaves no process behind, however the block ends."""
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
    # On SIGTERM it leaves in an orderly way: libraries have things to give back to the system.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # Ctrl-C reaches every process of the terminal; the main one then stops the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A step can take minutes; once the parent is gone, nothing waits for its result."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "it is a child"
    parent.join()
    os._exit(1)


def _work(function: str, arguments: Mapping[str, Any], log: Path) -> Result:
    """Run a step in this process."""
    with log.open("w", encoding="utf-8") as out:
        # Libraries write past sys.stdout too.
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    began, used = time.monotonic(), time.process_time()
    module, _, name = function.partition(":")
    try:
        measured: dict[str, Any] = getattr(import_module(module), name)(**arguments)
    except Exception:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
    took, computed = time.monotonic() - began, time.process_time() - used
    return Result(measured, took, computed, peak, os.getpid())
