"""Two runs do not write into one folder."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
import yaml

from tests.trainers.commands import SHORT, TRAINING
from trainers.base.errors import RunError
from trainers.base.sole_writer import sole_writer
from trainers.cli import main
from trainers.commands import COMMANDS
from trainers.preferences.files import journal


@pytest.mark.parametrize("command", TRAINING)
def test_a_second_run_into_the_same_folder_is_refused(
    command: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(SHORT[command](world) | {"output": str(output)}))
    with sole_writer(output):
        assert main([command, "--config", str(path)]) == 2
        assert capsys.readouterr().err == f"bon-train: {output}: another run is writing there\n"
        assert output.exists()  # the first one's


@pytest.mark.parametrize("command", ["collect", "label"])
def test_a_second_run_into_the_same_journal_is_refused(
    command: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.jsonl"
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(SHORT[command](world) | {"output": str(output)}))
    held = output if command == "collect" else tmp_path / "out.labels.jsonl"
    half = '{"prompt": [{"role": "us'
    with journal(held, print):
        held.write_text(half)
        assert main([command, "--config", str(path)]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error == f"bon-train: {held}: another run is writing there"
        assert held.read_text() == half


def test_these_are_all_that_train() -> None:
    assert {name for name, known in COMMANDS.items() if known.resume} == set(TRAINING)


def test_a_folder_is_free_again_and_gone_if_nothing_is_in_it(tmp_path: Path) -> None:
    output = tmp_path / "deep" / "out"
    with sole_writer(output):
        pass
    assert not output.exists()
    with sole_writer(output):
        (output / "metrics.jsonl").touch()
    with sole_writer(output), pytest.raises(RunError, match="another run"), sole_writer(output):
        pass
    assert [path.name for path in output.iterdir()] == ["metrics.jsonl"]


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError

    monkeypatch.setattr(fcntl, "flock", flock)
    with sole_writer(tmp_path), sole_writer(tmp_path):
        pass
