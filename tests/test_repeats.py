"""Further tries are counted over xdist's workers, and too many of them fail the run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = """
from tests.repeats import Repeats

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Repeats({limit}))
"""
TESTS = """
from types import SimpleNamespace

import pytest

from tests.integration.patience import up_to_five_times

@pytest.fixture
def engines():
    return SimpleNamespace(generator=SimpleNamespace(running=0), doomed=None)

@pytest.mark.parametrize("failures", {failures})
@up_to_five_times
async def test_it(engines, failures, seen=[]):
    seen.append(failures)
    assert len(seen) > failures
    seen.clear()
"""


def run(folder: Path, limit: int | None, failures: str, *flags: str) -> tuple[int, str]:
    (folder / "conftest.py").write_text(CONFTEST.format(limit=limit))
    (folder / "test_it.py").write_text(TESTS.format(failures=failures))
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "pytest_asyncio.plugin",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [*command, *flags],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(("limit", "code"), [(3, 0), (2, 1)])
def test_tries_of_all_workers_are_counted(tmp_path: Path, limit: int, code: int) -> None:
    done = run(tmp_path, limit, "[0, 1, 2]", "-p", "xdist.plugin", "-n", "2")
    assert done[0] == code, done[1]
    for line in ("3 passed", "1 test_it.py::test_it[1]", "2 test_it.py::test_it[2]", "3 in all"):
        assert line in done[1]
    assert "test_it[0]" not in done[1]


def test_a_test_that_always_fails_fails(tmp_path: Path) -> None:
    code, printed = run(tmp_path, None, "[5]")
    assert code == 1, printed
    assert "1 failed" in printed
    assert "4 test_it.py::test_it[5]" in printed
