"""A trainer that is told to stop ends its update, writes a checkpoint, and can be resumed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.trainers.commands import SHORT, TRAINING
from tests.trainers.runtime.helpers import assert_equal_weights
from tests.waiting import wait_until
from trainers.cli import main
from trainers.runtime.log import RunLog

IN_NAMESPACE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]


def start_of(command: str, world: Path, folder: Path) -> list[str]:
    folder.mkdir()
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(SHORT[command](world) | {"output": str(folder / "out")}))
    return [command, "--config", str(path)]


def policy_in(folder: Path) -> Path:
    rounds = folder / "out" / "rounds" / "0" / "policy"
    return rounds if rounds.exists() else folder / "out"


@pytest.fixture
def signalled(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[signal.Signals], None]]:
    """``signalled(number)``: this process gets the signal when a run logs its third entry."""
    write = RunLog.write

    def arm(number: signal.Signals) -> None:
        def write_and_signal(log: RunLog, entry: int, figures: Mapping[str, Any]) -> None:
            write(log, entry, figures)
            if entry == 3:
                monkeypatch.undo()
                os.kill(os.getpid(), number)

        monkeypatch.setattr(RunLog, "write", write_and_signal)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield arm
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("command", TRAINING)
def test_a_signalled_run_goes_on_as_if_it_had_never_stopped(
    command: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    signalled: Callable[[signal.Signals], None],
) -> None:  # fmt: skip
    """No checkpoint was asked for; the signal writes one."""
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    start = start_of(command, world, cut)
    number = signal.SIGINT if command == "dpo" else signal.SIGTERM
    signalled(number)
    assert main(start) == 128 + number
    out, error = capsys.readouterr()
    words = "interrupted" if number == signal.SIGINT else "terminated"
    assert error.splitlines()[-1] == f"bon-train: {words}"
    assert "is whole, and --resume goes on from it" in out
    assert not (policy_in(cut) / "config.json").exists()
    [checkpoint] = (policy_in(cut) / "checkpoints").iterdir()
    assert checkpoint.name in ("checkpoint-3", "checkpoint-4")
    assert main([*start, "--resume"]) == 0
    assert main(start_of(command, world, whole)) == 0
    assert_equal_weights(policy_in(whole), policy_in(cut))


def in_namespace() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*IN_NAMESPACE, "true"], check=False, capture_output=True).returncode == 0


def first_in_namespace(outer: int) -> int:
    """What runs in the namespace that the process has made."""
    [first] = map(int, Path(f"/proc/{outer}/task/{outer}/children").read_text().split())
    status = Path(f"/proc/{first}/status").read_text()
    assert status.partition("NSpid:")[2].splitlines()[0].split()[-1] == "1"
    return first


def test_the_first_process_of_a_container_hears_sigterm(world: Path, tmp_path: Path) -> None:
    """Or any process, where none may be the first of a namespace."""
    start = start_of("sft", world, tmp_path / "cut")
    out = tmp_path / "cut" / "out"
    long = ["--set", "max_steps=100000"]
    contained = in_namespace()
    with subprocess.Popen(
        [*(IN_NAMESPACE if contained else ()), sys.executable, "-m", "trainers", *start, *long],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            logged = out / "metrics.jsonl"
            wait_until(lambda: process.poll() is not None or bool(_size(logged)), 60, "it trains")
            assert process.poll() is None
            os.kill(first_in_namespace(process.pid) if contained else process.pid, signal.SIGTERM)
            error = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert process.returncode == 143, error
    assert error.splitlines()[-1] == "bon-train: terminated"
    assert "Traceback" not in error
    [checkpoint] = (out / "checkpoints").iterdir()
    assert checkpoint.name.startswith("checkpoint-")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
