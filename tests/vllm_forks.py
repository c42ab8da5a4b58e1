"""Runs programs in vLLM's interpreter, forked from a process that has imported vLLM.

tests/vllm_fork_server.py is that process. It starts with the first program of a test run."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.waiting import wait_until

HERE = Path(__file__).parent
SERVER = HERE / "vllm_server.py"
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # Otherwise an engine has a worker process, which spins for a second after each step while
    # the engine's process spins for its answer.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
RUN_S = 110.0
SERVER_FLAGS = ("--distributed-executor-backend", "uni", "--dtype", "float32", "--enforce-eager")
"""Of a server that boots soon and computes beside other processes."""


@dataclass(frozen=True)
class Done:
    exit_code: int
    stdout: str
    stderr: str


class Forked:
    """A process of the fork server's, used like one of ``subprocess``."""

    def __init__(self, forks: VllmForks, pid: int) -> None:
        self._forks = forks
        self.pid = pid

    def poll(self) -> int | None:
        return self._forks.ask(poll=self.pid)

    def wait(self, timeout: float) -> int:
        """Raises: subprocess.TimeoutExpired."""
        try:
            wait_until(lambda: self.poll() is not None, timeout)
        except TimeoutError as error:
            raise subprocess.TimeoutExpired(str(self.pid), timeout) from error
        code = self.poll()
        assert code is not None
        return code

    def send_signal(self, number: int) -> None:
        # Until somebody polls it, an ended process keeps its id.
        if self.poll() is None:
            os.kill(self.pid, number)


class VllmForks:
    """The fork server, and the way to it. Threads may share one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._runs = 0
        self._forked: list[Forked] = []

    @cached_property
    def _server(self) -> subprocess.Popen[str]:
        with (self._folder / "fork-server.log").open("wb") as log:
            return subprocess.Popen(
                [os.environ["BON_VLLM_PYTHON"], str(HERE / "vllm_fork_server.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **ENVIRONMENT},
                start_new_session=True,
            )

    def start(self) -> None:
        """Begin the import unless it has begun, without waiting."""
        with self._lock:
            assert self._server.pid

    def ask(self, **order: object) -> int | None:
        """Raises: RuntimeError if the fork server has ended."""
        with self._lock:
            assert self._server.stdin is not None
            assert self._server.stdout is not None
            try:
                self._server.stdin.write(json.dumps(order) + "\n")
                self._server.stdin.flush()
                answer = self._server.stdout.readline()
            except BrokenPipeError:
                answer = ""
        if not answer:
            log = (self._folder / "fork-server.log").read_text("utf-8", errors="replace")
            raise RuntimeError(f"vLLM's fork server has ended:\n{log[-4000:]}")
        told: int | None = json.loads(answer)
        return told

    def run(
        self,
        program: Path,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        *,
        stdin: Path = Path(os.devnull),
        stdout: Path,
        stderr: Path,
    ) -> Forked:
        """Start it. Its process leads a group of its own."""
        pid = self.ask(
            run={
                "path": str(program),
                "arguments": list(arguments),
                "environ": dict(environ),
                "stdin": str(stdin),
                "stdout": str(stdout),
                "stderr": str(stderr),
            }
        )
        assert pid is not None
        forked = Forked(self, pid)
        self._forked.append(forked)
        return forked

    def result(self, program: Path, *arguments: str, stdin: str = "") -> Done:
        """Run it to its end."""
        self._runs += 1
        stem = self._folder / f"{self._runs:02}-{program.stem}"
        given, out, err = (stem.with_suffix(suffix) for suffix in (".in", ".out", ".err"))
        given.write_text(stdin, "utf-8")
        ran = self.run(program, arguments, {}, stdin=given, stdout=out, stderr=err)
        code = ran.wait(RUN_S)
        return Done(code, out.read_text("utf-8"), err.read_text("utf-8"))

    def end_all(self) -> None:
        """Ask every process that still runs to end, without waiting."""
        for forked in self._forked:
            forked.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """End the fork server. Processes that it has forked and nobody has stopped live on."""
        if "_server" not in self.__dict__:
            return
        with self._server as server:  # which closes the pipes
            assert server.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # what it had not read when it ended
                server.stdin.close()
