"""A trainer that is told to stop ends its update, writes a checkpoint, and can be resumed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ports import free_port
from tests.trainers.commands import SHORT, TRAINING
from tests.trainers.runtime.helpers import assert_equal_weights
from tests.waiting import wait_until
from trainers.cli import main
from trainers.grpo.rewards import RewardFunction
from trainers.grpo.trainer import GroupTrainer
from trainers.policy.in_process import InProcessGenerator
from trainers.ppo.update import Updater
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


PLACES: dict[str, tuple[str, type, str, int]] = {
    # The command, what it calls there, and the call that a signal comes with.
    "ppo, answers": ("ppo", InProcessGenerator, "generate", 3),
    "ppo, the first of two minibatches": ("ppo", Updater, "_gradient", 5),
    "ppo, the first iteration": ("ppo", Updater, "_gradient", 1),
    "grpo, answers": ("grpo", GroupTrainer, "_tokenize_prompts", 3),
    "grpo, update": ("grpo", RewardFunction, "__call__", 3),
    "grpo, the first update": ("grpo", RewardFunction, "__call__", 1),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_signal_within_an_iteration_goes_back_to_its_start(
    place: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The rest of the iteration is not waited for."""
    command, kind, name, which = PLACES[place]
    original, calls = getattr(kind, name), []

    def told(*arguments: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) == which:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments, **options)

    cut, whole = tmp_path / "cut", tmp_path / "whole"
    start = start_of(command, world, cut)
    with monkeypatch.context() as patched:
        patched.setattr(kind, name, told)
        assert main(start) == 143
    assert len(calls) == which
    out, error = capsys.readouterr()
    assert error.splitlines()[-1] == "bon-train: terminated"
    checkpoints = cut / "out" / "checkpoints"
    if which == 1:
        assert not list(checkpoints.glob("*"))
        assert "stopped before the first update was whole: --resume begins at the start" in out
    else:
        assert [one.name for one in checkpoints.iterdir()] == ["checkpoint-2"]
        assert f"{checkpoints / 'checkpoint-2'} is whole" in out
    assert main([*start, "--resume"]) == 0
    assert main(start_of(command, world, whole)) == 0
    assert_equal_weights(whole / "out", cut / "out")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("told", [(0, 1), (1,)], ids=["each", "one alone"])
def test_processes_that_train_together_stop_together(
    told: tuple[int, ...], world: Path, tmp_path: Path
) -> None:
    start = start_of("sft", world, tmp_path / "cut")
    out = tmp_path / "cut" / "out"
    command = [sys.executable, "-m", "trainers", *start, "--set", "max_steps=100000"]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    with ExitStack() as ended:
        processes = []
        for number in ("0", "1"):
            env = os.environ | shared | {"RANK": number, "LOCAL_RANK": number}
            process = subprocess.Popen(
                command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            ended.enter_context(process)
            ended.callback(process.kill)
            processes.append(process)
        logged = out / "metrics.jsonl"
        gone = lambda: any(one.poll() is not None for one in processes)  # noqa: E731
        wait_until(lambda: gone() or bool(_size(logged)), 120, "it trains")
        for rank in told:
            processes[rank].terminate()
        errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [143, 143], errors
    assert all("bon-train: terminated" in error.splitlines() for error in errors)
    [checkpoint] = (out / "checkpoints").iterdir()
    assert checkpoint.name.startswith("checkpoint-")
    assert not (out / "model.safetensors").exists()


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
