from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainers.runtime.helpers import full_disk
from trainers.base.card import append_figures, write_card
from trainers.base.errors import RunError
from trainers.base.files import PARTIAL, remove_partial, replaced, write_text
from trainers.base.settings import Settings
from trainers.evaluation.figures import Figures
from trainers.rewards.ensemble import read_ensemble, write_ensemble


def test_a_file_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_text(path, "first")
    with (
        full_disk(100),
        pytest.raises(RunError, match=r"file could not be written: File too large$"),
    ):
        write_text(path, "x" * 200)
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_what_a_kill_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / f"{PARTIAL}file").write_text("half")
    (tmp_path / f"{PARTIAL}folder").mkdir()
    (tmp_path / "whole").write_text("")
    remove_partial(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_cards_figures_and_ensembles_are_written_so(tmp_path: Path) -> None:
    write_card(tmp_path, "Title", "bon-train x", {}, Settings(), {"loss": 1.0})
    before = (tmp_path / "README.md").read_text()
    with full_disk(10):
        with pytest.raises(RunError, match=r"README\.md could not be written"):
            append_figures(tmp_path, "More", {"gold": 2.0})
        with pytest.raises(RunError, match=r"figures\.json could not be written"):
            Figures(pairs=3).write(tmp_path / "figures.json")
        with pytest.raises(RunError, match=r"ensemble\.json could not be written"):
            write_ensemble(tmp_path, ["seed-0"])
    assert (tmp_path / "README.md").read_text() == before
    assert read_ensemble(tmp_path) is None
    append_figures(tmp_path, "More", {"gold": 2.0})
    assert (tmp_path / "README.md").read_text().startswith(before)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_a_file_takes_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "d.jsonl"
    with replaced(path) as out:
        out.write("first\n")
        assert not path.exists()
    assert path.read_text() == "first\n"
    with pytest.raises(KeyError):
        write_half(path)
    assert path.read_text() == "first\n"
    assert list(path.parent.iterdir()) == [path]


def write_half(path: Path) -> None:
    with replaced(path) as out:
        out.write("half")
        raise KeyError


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "deep" / "d.jsonl"
    with pytest.raises(RunError, match=r"d\.jsonl could not be written: Not a dir"), replaced(path):
        pass
