"""What runs in a fork is like what an interpreter of its own runs."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.vllm_forks import Forked, VllmForks

pytestmark = pytest.mark.vllm
PROGRAM = """
import sys, vllm
print(__name__, sys.argv[1], sys.stdin.read())
print("to stderr", file=sys.stderr)
sys.exit(3)
"""


@pytest.fixture
def sleeper(vllm: VllmForks, tmp_path: Path) -> Forked:
    program = tmp_path / "sleep.py"
    program.write_text("import os, time\nprint(os.environ['WHO'], flush=True)\ntime.sleep(100)")
    log = tmp_path / "log"
    forked = vllm.run(program, [], {"WHO": "me"}, stdout=log, stderr=log)
    assert os.getpgid(forked.pid) == forked.pid
    return forked


def test_a_program_runs_to_its_end(vllm: VllmForks, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = vllm.result(program, "an argument", stdin="some input")
    assert (done.exit_code, done.stdout) == (3, "__main__ an argument some input\n")
    assert done.stderr == "to stderr\n"


def test_one_that_runs_on_is_ended_by_a_signal(sleeper: Forked) -> None:
    assert sleeper.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        sleeper.wait(0.1)
    sleeper.send_signal(signal.SIGTERM)
    assert sleeper.wait(10) == -signal.SIGTERM
    assert sleeper.poll() == -signal.SIGTERM
    sleeper.send_signal(signal.SIGTERM)  # to nobody


def test_the_end_of_the_fork_server_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BON_VLLM_PYTHON", "false")
    forks = VllmForks(tmp_path)
    with pytest.raises(RuntimeError, match="fork server has ended"):
        forks.ask(poll=1)
    forks.close()
