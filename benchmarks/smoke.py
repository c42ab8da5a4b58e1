"""Runs the benchmarks in their short form, in which no figure counts: ``make bench-smoke``.

That each runs to its end against real servers and prints its table is all that is proved, so they
may disturb each other and share what takes long. As many run side by side as there are cores. Each
is a process forked from this one, which has loaded torch for all; those on vLLM use one pair of
engines. A benchmark's lines are printed when it has ended. Exit code 1 if one has failed.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import runpy
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path

import e2e_vllm
from load import end_on_sigterm

FOLDER = Path(__file__).parent
ON_ENGINES = ("e2e_vllm", "compare_vllm", "request_path", "strategies_live")
SLOWEST = ("soak", "reward_mixed_load")
"""Begun first, so that none of them runs alone at the end."""
FORK = multiprocessing.get_context("fork")


def load_torch() -> None:
    """What the reward benchmarks import, transformers' lazy modules too."""
    import reward_models  # noqa: F401
    from transformers import AutoTokenizer, Qwen3ForSequenceClassification  # noqa: F401


def benchmarks() -> list[str]:
    """The names of all that know the short form, those that take longest first."""
    found = [
        path.stem
        for path in sorted(FOLDER.glob("*.py"))
        if path != Path(__file__) and '"--smoke"' in path.read_text("utf-8")
    ]
    first = [*ON_ENGINES, *SLOWEST]
    return sorted(found, key=lambda name: first.index(name) if name in first else len(first))


def run(name: str, *flags: str) -> None:
    """Becomes the benchmark."""
    path = str(FOLDER / f"{name}.py")
    sys.argv = [path, "--smoke", *flags]
    runpy.run_path(path, run_name="__main__")


def run_on_engines(names: Sequence[str], python: str) -> None:
    """One after another on the same engines. Ends the process with 1 if one fails."""
    failed = []
    with e2e_vllm.engines(python) as engines:
        addresses = {
            "e2e_vllm": (engines.generator, engines.pooling, engines.reward_server),
            "compare_vllm": (engines.generator, engines.reward_server),
            "request_path": (engines.generator, engines.reward_server),
            "strategies_live": (engines.generator, engines.reward_server),
        }
        for name in names:
            print(f"-- {name}", flush=True)
            with forked(run, name, "--engines", *addresses[name]) as process:
                process.join()
            if process.exitcode:
                failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


@contextlib.contextmanager
def forked(work: Callable[..., None], *arguments: object) -> Iterator[ForkProcess]:
    """Ended with the block if it has not ended by itself."""
    process = FORK.Process(target=work, args=arguments)
    process.start()
    try:
        yield process
    finally:
        process.terminate()
        process.join()


@dataclass(frozen=True, slots=True)
class Job:
    """What one process does."""

    name: str
    work: Callable[..., None]
    arguments: Sequence[object]


@dataclass(frozen=True, slots=True)
class Running:
    job: Job
    process: ForkProcess
    log: Path
    begun: float

    def report(self) -> None:
        took = time.monotonic() - self.begun
        outcome = f"failed ({self.process.exitcode})" if self.process.exitcode else "done"
        print(f"== {self.job.name}: {outcome} after {took:.0f} s")
        print(self.log.read_text("utf-8", errors="replace"), end="", flush=True)


def into(log: Path, work: Callable[..., None], *arguments: object) -> None:
    """In a forked process: all that is printed from now on goes to a file."""
    with log.open("wb") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    work(*arguments)


def run_all(jobs: Sequence[Job], slots: int, folder: Path) -> list[str]:
    """The names of those that failed."""
    waiting = list(jobs)
    running: dict[int, Running] = {}
    failed = []
    with contextlib.ExitStack() as stack:
        while waiting or running:
            while waiting and len(running) < slots:
                job = waiting.pop(0)
                log = folder / f"{len(waiting)}.log"
                process = stack.enter_context(forked(into, log, job.work, *job.arguments))
                running[process.sentinel] = Running(job, process, log, time.monotonic())
            for sentinel in wait(list(running)):
                ended = running.pop(sentinel)  # type: ignore[index]
                ended.process.join()
                ended.report()
                if ended.process.exitcode:
                    failed.append(ended.job.name)
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="benchmarks; all that know --smoke by default")
    parser.add_argument("--vllm-python", default=os.environ.get("BON_VLLM_PYTHON"))
    parser.add_argument("--jobs", type=int, default=max(2, os.cpu_count() or 1))
    options = parser.parse_args()
    known = benchmarks()
    if unknown := set(options.names) - set(known):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    names = [name for name in known if name in options.names or not options.names]
    on_engines = [name for name in names if name in ON_ENGINES]
    if on_engines and options.vllm_python is None:
        parser.error("--vllm-python or BON_VLLM_PYTHON must name an interpreter with vLLM")
    jobs = [Job(name, run, (name,)) for name in names if name not in ON_ENGINES]
    if on_engines:
        work = (on_engines, options.vllm_python)
        jobs.insert(0, Job(" and ".join(on_engines), run_on_engines, work))
    end_on_sigterm()
    # Threads that spin while they wait for each other take the cores from everybody else.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    load_torch()
    with tempfile.TemporaryDirectory() as folder:
        failed = run_all(jobs, options.jobs, Path(folder))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
