"""The environments' stamps. pip and venv are replaced by a recording function."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts import setup_env
from scripts.setup_env import SERVE, TEST, VLLM, Environment, SetupError


class Recorder:
    """Stands in for running commands; fails at the first that contains `failing`."""

    def __init__(self, failing: str | None = None) -> None:
        self.commands: list[list[str]] = []
        self.failing = failing

    def __call__(self, command: Sequence[str]) -> None:
        self.commands.append(list(command))
        if "venv" in command:
            Path(command[-1]).mkdir(exist_ok=True)
        if self.failing is not None and self.failing in command:
            raise SetupError("no")

    def ran(self, word: str) -> int:
        return sum(word in command for command in self.commands)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "constraints").mkdir()
    for name in {*TEST.inputs, *VLLM.inputs}:
        (tmp_path / name).write_text("torch==2.13.0\n")
    return tmp_path


def make(environment: Environment, root: Path, run: Recorder | None = None) -> bool:
    return setup_env.ensure(environment, root=root, run=run or Recorder())


def test_a_made_environment_is_used_again(root: Path) -> None:
    assert make(SERVE, root)
    again = Recorder()
    assert not make(SERVE, root, again)
    assert again.commands == []


@pytest.mark.parametrize("name", SERVE.inputs)
def test_changed_pins_install_again(root: Path, name: str) -> None:
    make(SERVE, root)
    (root / name).write_text("torch==2.14.0\n")
    again = Recorder()
    assert make(SERVE, root, again)
    assert again.ran("-e") == 1
    assert not make(SERVE, root)


@pytest.mark.parametrize("failing", ["venv", "install", SERVE.check])
def test_a_failed_installation_leaves_no_stamp(root: Path, failing: str) -> None:
    with pytest.raises(SetupError):
        make(SERVE, root, Recorder(failing))
    assert not setup_env.is_current(SERVE, root)
    assert make(SERVE, root)


def test_a_failed_update_takes_the_old_stamp_away(root: Path) -> None:
    make(SERVE, root)
    pins = root / SERVE.constraints
    old = pins.read_text()
    pins.write_text("torch==2.14.0\n")
    with pytest.raises(SetupError):
        make(SERVE, root, Recorder("install"))
    # Half of the new packages may be there: the old pins no longer describe it either.
    pins.write_text(old)
    assert not setup_env.is_current(SERVE, root)


def test_a_file_edited_during_installation_makes_it_out_of_date(root: Path) -> None:
    class Editing(Recorder):
        def __call__(self, command: Sequence[str]) -> None:
            super().__call__(command)
            (root / "pyproject.toml").write_text("edited")

    make(SERVE, root, Editing())
    assert not setup_env.is_current(SERVE, root)


def test_more_extras_serve_fewer_but_not_the_other_way(root: Path) -> None:
    make(TEST, root)
    assert setup_env.is_current(SERVE, root)
    setup_env.stamp_path(TEST, root).unlink()
    make(SERVE, root)
    assert not setup_env.is_current(TEST, root)


def test_a_moved_tree_is_out_of_date(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    make(SERVE, root)
    moved = root.rename(tmp_path_factory.mktemp("moved") / "tree")
    assert not setup_env.is_current(SERVE, moved)


@pytest.mark.parametrize("stamp", ["", "[]", "{}", '{"fingerprint": 1}', "null"])
def test_a_broken_stamp_is_no_stamp(root: Path, stamp: str) -> None:
    make(SERVE, root)
    setup_env.stamp_path(SERVE, root).write_text(stamp)
    assert not setup_env.is_current(SERVE, root)


def test_an_environment_of_another_python_is_made_anew(root: Path) -> None:
    interpreter = root / SERVE.folder / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.write_text("#!/bin/sh\necho 3.7\n")
    interpreter.chmod(0o755)
    run = Recorder()
    make(SERVE, root, run)
    assert run.ran("--clear") == 1


def test_a_running_environment_is_updated_in_place(root: Path) -> None:
    minor = ".".join(map(str, sys.version_info[:2]))
    interpreter = root / SERVE.folder / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.write_text(f"#!/bin/sh\necho {minor}\n")
    interpreter.chmod(0o755)
    run = Recorder()
    make(SERVE, root, run)
    assert run.ran("--clear") == 0
    assert run.ran("-e") == 1


def test_a_python_without_ensurepip_is_told_plainly(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(SetupError, match=r"apt-get install python3\.\d+-venv"):
        make(SERVE, root)


def test_vllm_loses_what_does_not_load_beside_a_cpu_torch(root: Path) -> None:
    run = Recorder()
    make(VLLM, root, run)
    (removal,) = [command for command in run.commands if "uninstall" in command]
    assert {"torchvision", "torchaudio", "torchcodec"} <= set(removal)
    assert run.commands.index(removal) < len(run.commands) - 1


def test_pip_args_reach_pip(root: Path) -> None:
    run = Recorder()
    setup_env.ensure(SERVE, root=root, pip_args=["--index-url", "somewhere"], run=run)
    of_pip, installation = [command for command in run.commands if "install" in command]
    for command in (of_pip, installation):
        assert command[command.index("--index-url") + 1] == "somewhere"
    assert of_pip[-3:] == ["-c", SERVE.constraints, "pip"]
    assert installation[-2:] == ["-e", ".[embedded]"]


@pytest.mark.parametrize(
    ("system", "machine", "cpu_info", "word"),
    [
        ("Darwin", "arm64", "", "Darwin arm64"),
        ("Linux", "aarch64", "flags: asimd", "aarch64"),
        ("Linux", "x86_64", "flags: sse4_2 avx", "AVX2"),
    ],
)
def test_machines_that_vllm_does_not_run_on(
    system: str, machine: str, cpu_info: str, word: str
) -> None:
    with pytest.raises(setup_env.UnsupportedError, match=word):
        setup_env.require_vllm_machine(system, machine, cpu_info)


def test_a_machine_that_vllm_runs_on() -> None:
    setup_env.require_vllm_machine("Linux", "x86_64", "flags: sse4_2 avx avx2")


def test_lock_drops_local_versions_and_itself() -> None:
    frozen = "torch==2.13.0+cpu\npip==1\nA==1.0\nbon-gateway==0.1.0\nb @ file://x\ntorchaudio==2\n"
    assert setup_env.lock_lines(frozen, ["torchaudio"]) == ["A==1.0", "pip==1", "torch==2.13.0"]


def test_stamp_is_json_with_its_extras(root: Path) -> None:
    make(TEST, root)
    stamp = json.loads(setup_env.stamp_path(TEST, root).read_text())
    assert stamp["extras"] == ["chart", "dev", "embedded", "language", "reward-server", "trainers"]
