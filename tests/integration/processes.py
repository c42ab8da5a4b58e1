"""Starts servers as processes of their own, and sees to it that none of them is left behind.

Each gets its own process group: vLLM's engine and the gateway's workers are children that outlive
a parent which is killed, and the group is what finds them again.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from tests.vllm_forks import Forked, VllmForks
from tests.waiting import wait_until

STOP_GRACE_S = 15.0
POLL_S = 0.05


def with_descriptors(command: Sequence[str], most: int) -> list[str]:
    """The command, run so that it and its children may open so many files and no more."""
    return ["sh", "-c", f'ulimit -n {most} && exec "$@"', "sh", *command]


def in_folder(command: Sequence[str], folder: Path) -> list[str]:
    """The command, run there."""
    return ["sh", "-c", f'cd {shlex.quote(str(folder))} && exec "$@"', "sh", *command]


class Process:
    """One server. Its output goes to a file, whose end explains a failure."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes] | Forked, log: Path) -> None:
        self.name = name
        self._popen = popen
        self._log = log

    @property
    def pid(self) -> int:
        """Of the first process, which is the group's id too."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        return self._popen.poll()

    @property
    def output(self) -> str:
        return self._log.read_text("utf-8", errors="replace")

    def members(self) -> list[psutil.Process]:
        """Everything that runs in the group."""
        self._popen.poll()
        return [process for process in psutil.process_iter() if _group(process.pid) == self.pid]

    def wait_until(self, condition: Callable[[], object], within_s: float, what: str) -> None:
        """Like the function, but an end of the process is an error too, and its log is shown."""

        def checked() -> object:
            if self.exit_code is not None:
                raise RuntimeError(f"it ended with exit code {self.exit_code}")
            return condition()

        try:
            wait_until(checked, within_s, what)
        except (TimeoutError, RuntimeError) as error:
            tail = "\n".join(self.output.splitlines()[-40:])
            raise AssertionError(f"{self.name}: {error}\n{tail}") from error

    def signal(self, number: int) -> None:
        """To the first process only, as a service manager does it."""
        self._popen.send_signal(number)

    def signal_group(self, number: int) -> None:
        if self.members():
            os.killpg(self.pid, number)

    def stop(self) -> None:
        """In order if it can be, by force if it cannot. Safe to call twice."""
        if self.exit_code is None:
            self.signal_group(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self._popen.wait(STOP_GRACE_S)
            except subprocess.TimeoutExpired:
                print(f"{self.name} does not stop on SIGTERM")
        self.kill()

    def kill(self) -> None:
        """SIGKILL for the whole group; returns when none of it is left."""
        self.signal_group(signal.SIGKILL)
        self._popen.wait(STOP_GRACE_S)
        wait_until(lambda: not self.members(), STOP_GRACE_S, f"{self.name} is killed")


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


class Processes:
    """Owns every process of the test session."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Process] = []

    def start(
        self, name: str, command: Sequence[str], environ: Mapping[str, str] | None = None
    ) -> Process:
        path = self._log(name)
        with path.open("wb") as log:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environ or {})},
                start_new_session=True,
            )
        return self._own(Process(path.stem, popen, path))

    def fork(
        self,
        forks: VllmForks,
        name: str,
        program: Path,
        arguments: Sequence[str],
        environ: Mapping[str, str] | None = None,
    ) -> Process:
        """A program for vLLM's interpreter, in a process that has imported vLLM already."""
        path = self._log(name)
        forked = forks.run(program, arguments, environ or {}, stdout=path, stderr=path)
        return self._own(Process(path.stem, forked, path))

    def _log(self, name: str) -> Path:
        return self._folder / f"{len(self._started):02}-{name}.log"

    def _own(self, process: Process) -> Process:
        self._started.append(process)
        return process

    def write(self, name: str, text: str) -> Path:
        path = self._folder / f"{len(self._started):02}-{name}"
        path.write_text(text, "utf-8")
        return path

    def stop_all(self) -> None:
        """First ask all of them, so that they end side by side."""
        for process in self._started:
            if process.exit_code is None:
                process.signal_group(signal.SIGCONT)
                process.signal(signal.SIGTERM)
        for process in reversed(self._started):
            process.stop()

    def left(self) -> list[str]:
        """What still runs of all that was ever started."""
        return [
            f"{process.name}: {member}" for process in self._started for member in process.members()
        ]
