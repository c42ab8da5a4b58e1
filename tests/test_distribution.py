"""Tests that need vLLM run in one worker, over all files; those of another file stay together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.distribution import begin

CONFTEST = """
import pathlib, time
import pytest
from tests import distribution

def pytest_configure(config):
    config.pluginmanager.register(distribution)

@pytest.fixture
def vllm():
    pass

@pytest.fixture
def served(vllm):
    pass

@pytest.fixture(autouse=True)
def ran(request, worker_id):
    time.sleep(0.05)  # for the other worker to take its share
    with pathlib.Path("ran").open("a") as file:
        file.write(f"{worker_id} {request.node.nodeid}\\n")
"""
TESTS = """
import pytest

def test_with_engines(vllm):
    pass

@pytest.mark.parametrize("number", range(4))
def test_alone(number):
    pass

def test_with_others(served):
    pass
"""
FILES = [f"test_{letter}.py" for letter in "abcd"]


def test_groups_and_files_stay_together(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for name in FILES:
        (tmp_path / name).write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "xdist.plugin", "-p", "no:cacheprovider",
         "-n", "2", "--dist", "loadgroup", "--no-loadscope-reorder"],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    ran = [line.split(maxsplit=1) for line in (tmp_path / "ran").read_text().splitlines()]
    workers = {(test.partition("::")[0], "alone" in test): set[str]() for _, test in ran}
    for worker, test in ran:
        workers[test.partition("::")[0], "alone" in test].add(worker)
    assert len(workers) == 2 * len(FILES)
    assert all(len(of_file) == 1 for of_file in workers.values())
    assert len(set.union(*(workers[name, False] for name in FILES))) == 1
    assert len(set.union(*workers.values())) == 2


def test_those_that_wait_go_beside_those_that_compute() -> None:
    waiting = [f"tests/integration/test_{number}.py" for number in range(3)]
    short = [f"tests/helm/test_{number}.py" for number in range(4)]
    long = [f"tests/trainers/test_{number}.py" for number in range(2)]
    early = begin([*waiting, *short, *long])
    assert sorted(early, key=early.__getitem__) == [
        waiting[0], long[0], long[1], waiting[1], short[0], short[1], waiting[2], *short[2:]
    ]  # fmt: skip
