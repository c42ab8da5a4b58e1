"""The runner of the benchmarks' short form: what it runs, and that no failure is lost.

The benchmarks themselves are run by ``make bench-smoke``.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.waiting import wait_until

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PRELUDE = f"""
import sys, time
from pathlib import Path
sys.path.insert(0, {str(BENCHMARKS)!r})
from load import end_on_sigterm
from smoke import Job, benchmarks, forked, run_all
"""
"""In a process of its own, since the runner forks, and pytest's processes have threads."""


def python(lines: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", PRELUDE + lines, *map(str, arguments)]


def run(lines: str, *arguments: object) -> str:
    done = subprocess.run(
        python(lines, *arguments), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_benchmark_that_knows_the_short_form_is_run() -> None:
    knowing = {path.stem for path in BENCHMARKS.glob("*.py") if "options.smoke" in path.read_text()}
    assert set(run("print(*benchmarks())").split()) == knowing


def test_all_are_run_and_those_that_fail_are_named(tmp_path: Path) -> None:
    lines = """
def raises():
    raise ValueError("seen")
jobs = [
    Job("well", print, ("all is well",)), Job("exits", sys.exit, (3,)), Job("raises", raises, ()),
    Job("later", print, ("still run",)),
]
print("failed:", *sorted(run_all(jobs, 2, Path(sys.argv[1]))))
"""
    printed = run(lines, tmp_path)
    assert "failed: exits raises" in printed
    assert "ValueError: seen" in printed
    for name, text in (("well", "all is well"), ("later", "still run")):
        report = printed[printed.index(f"== {name}: done") :].splitlines()
        assert report[1] == text


def test_a_runner_that_is_told_to_end_ends_what_runs(tmp_path: Path) -> None:
    lines = """
def lasts(folder):
    try:
        (folder / "begun").touch()
        time.sleep(60)
    finally:
        (folder / "ended").touch()
end_on_sigterm()
folder = Path(sys.argv[1])
run_all([Job("lasts", lasts, (folder,))], 2, folder)
"""
    with subprocess.Popen(python(lines, tmp_path)) as process:
        wait_until((tmp_path / "begun").exists, 30, "it runs")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
    assert (tmp_path / "ended").exists()
