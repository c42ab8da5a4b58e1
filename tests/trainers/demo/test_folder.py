from __future__ import annotations

from pathlib import Path

import pytest

from trainers.base.errors import SettingsError
from trainers.demo.folder import fresh


def test_a_new_folder_is_made_and_one_of_an_earlier_run_emptied(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    fresh(folder)
    (folder / "policy").mkdir()
    (folder / "policy" / "old").touch()
    fresh(folder)
    assert not (folder / "policy").exists()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(SettingsError, match="is not empty"):
        fresh(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"
