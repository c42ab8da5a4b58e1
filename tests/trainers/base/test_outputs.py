"""An output that could not be written is known before the work, not after it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.trainers.commands import SHORT, output_of
from trainers.base.context import RunContext
from trainers.base.errors import RunError
from trainers.base.outputs import claim_files, claim_folder, require_place
from trainers.cli import main

START = RunContext("bon-train x", show=lambda text: None)


def _long(folder: Path) -> Path:
    return folder / ("x" * 300)


def _in_a_file(folder: Path) -> Path:
    (folder / "file").write_text("")
    return folder / "file" / "out"


def _in_a_dead_link(folder: Path) -> Path:
    (folder / "link").symlink_to(folder / "nothing")
    return folder / "link" / "out"


PLACES = [
    (_long, "File name too long"),
    (_in_a_file, "file is no folder"),
    (_in_a_dead_link, "link is a link to nothing"),
]


@pytest.mark.parametrize(("place", "reason"), PLACES)
@pytest.mark.parametrize("command", SHORT)
def test_a_place_that_takes_no_output(
    command: str,
    place: Callable[[Path], Path],
    reason: str,
    world: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = place(tmp_path)
    values = SHORT[command](world) | {"output": str(output)}
    if output_of(command) != "out":
        values["output"] += "/out.json"
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(values))
    assert main([command, "--config", str(tmp_path / "run.yaml")]) == 2
    [error] = capsys.readouterr().err.splitlines()
    assert error.startswith(f"bon-train: {output}")
    assert reason in error


def test_a_folder_that_may_not_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A superuser may write anywhere, so the system's answer is made up."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(RunError) as error:
        require_place(tmp_path / "a" / "b")
    assert str(error.value) == f"{tmp_path / 'a' / 'b'}: {tmp_path} may not be written to"


def test_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "out.json").mkdir()
    again = RunContext("bon-train x", overwrite=True, show=lambda text: None)
    for context in (START, again):
        with pytest.raises(RunError, match=r"out\.json: is a folder; the output is a file$"):
            claim_files([tmp_path / "out.json"], context)
    claim_files([tmp_path / "out.json"], again, folders=True)


def test_a_link_to_a_folder_is_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    claim_folder(tmp_path / "link", START)
    claim_files([tmp_path / "link" / "deep" / "file"], START)
    assert list((tmp_path / "real").iterdir()) == []
