"""A run that is stopped leaves no process behind, not even one that ignores SIGTERM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.waiting import wait_until

CONFTEST = """
import os, signal
from tests.leftovers import Watch

def pytest_configure(config):
    if "PYTEST_XDIST_WORKER" not in os.environ:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        config.add_cleanup(Watch().close)
"""
CHILD = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"
TESTS = f"""
import os, pathlib, subprocess, sys, time
import pytest

@pytest.mark.parametrize("number", range(2))
def test_it(number):
    child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], start_new_session=True)
    written = pathlib.Path(f"{{number}}.writing")
    written.write_text(f"{{os.getpid()}} {{child.pid}}")
    written.rename(f"{{number}}.pids")
    time.sleep({{seconds}})
"""


def start(folder: Path, workers: int, seconds: float) -> subprocess.Popen[bytes]:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(TESTS.replace("{seconds}", str(seconds)))
    (folder / "pytest.ini").write_text("[pytest]\n")
    # This test may itself run in a worker; the run that it starts does not.
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "xdist.plugin", "-p", "no:cacheprovider",
         "-n", str(workers)],
        cwd=folder,
        env=environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip


def started(folder: Path, count: int) -> set[int]:
    """The process of each test, and its child."""
    wait_until(lambda: len(list(folder.glob("*.pids"))) == count, 60, "the tests run")
    return {int(pid) for path in folder.glob("*.pids") for pid in path.read_text().split()}


def alive(pid: int) -> bool:
    """A zombie does not count: its new parent may reap it later."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# Not SIGINT too: to pytest SIGTERM is the same.
@pytest.mark.parametrize(
    ("workers", "number"), [(0, signal.SIGTERM), (2, signal.SIGTERM), (2, signal.SIGKILL)]
)
def test_a_stopped_run_leaves_nothing(tmp_path: Path, workers: int, number: int) -> None:
    run = start(tmp_path, workers, 300)
    pids = started(tmp_path, workers or 1)
    assert all(map(alive, pids))
    run.send_signal(number)
    run.wait(60)
    wait_until(lambda: not any(map(alive, pids)), 30, "all have ended")


def test_a_run_that_ends_by_itself_ends_what_is_left(tmp_path: Path) -> None:
    assert start(tmp_path, 2, 0).wait(60) == 0
    assert not any(map(alive, started(tmp_path, 2)))
