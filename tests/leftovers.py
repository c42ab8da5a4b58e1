"""Ends every process that a test run has left behind, however the run itself has ended.

A run that is stopped in the middle (Ctrl-C, `timeout`, CI's limit) may take its workers away before
their fixtures have stopped the servers that they started. So a process of its own waits for the
run's end and then looks for all whose environment carries the run's mark, which children inherit.
What a fixture has to stop it still stops itself: this is for the runs in which it could not.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping

import psutil

MARK = "BON_TEST_RUNS"
"""The marks of this run and of the runs that started it."""
KEEP_ENVIRONMENT = {"SPT_NOENV": "1"}
"""vLLM gives its processes titles, and would write them over their environment."""
GRACE_S = 3.0
POLL_S = 0.1


class Watch:
    """Lives in the process that was started as pytest, and its mark in all that come from it."""

    def __init__(self) -> None:
        mark = uuid.uuid4().hex
        os.environ[MARK] = f"{os.environ.get(MARK, '')} {mark}"
        os.environ.update(KEEP_ENVIRONMENT)
        # A session of its own: Ctrl-C and `timeout` reach a whole process group.
        self._watcher = subprocess.Popen(
            [sys.executable, __file__, mark], stdin=subprocess.PIPE, start_new_session=True
        )

    def close(self) -> None:
        assert self._watcher.stdin is not None
        self._watcher.stdin.close()
        self._watcher.wait()


def marked(mark: str) -> list[psutil.Process]:
    """But for this process itself."""
    return [
        process
        for process in psutil.process_iter()
        if process.pid != os.getpid() and mark in _environment(process).get(MARK, "").split()
    ]


def _environment(process: psutil.Process) -> Mapping[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def gone(mark: str, within_s: float) -> bool:
    end = time.monotonic() + within_s
    while marked(mark):
        if time.monotonic() > end:
            return False
        time.sleep(POLL_S)
    return True


def end_all(mark: str) -> None:
    """Gives them time to end by themselves, then SIGTERM, then SIGKILL."""
    if gone(mark, 1):
        return
    for process in marked(mark):
        print(
            f"left behind by a test: {' '.join(_command(process)).strip()[:200]}", file=sys.stderr
        )
        _signal(process, "terminate")
    while not gone(mark, GRACE_S):
        # Again and again: one that is stopped may have started another meanwhile.
        for process in marked(mark):
            _signal(process, "kill")


def _command(process: psutil.Process) -> list[str]:
    try:
        # A title that a process has given itself may leave no command.
        return process.cmdline() or [process.name()]
    except (psutil.Error, OSError):
        return [str(process.pid)]


def _signal(process: psutil.Process, method: str) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        getattr(process, method)()


if __name__ == "__main__":
    sys.stdin.read()  # until the run has closed it, or is no more
    end_all(sys.argv[1])
