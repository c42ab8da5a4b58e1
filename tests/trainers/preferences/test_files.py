from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainers.preferences.helpers import read_lines
from trainers.base.errors import DataError
from trainers.preferences.files import journal


def test_a_disk_that_takes_no_more_is_named() -> None:
    with (
        pytest.raises(DataError) as error,
        journal(Path("/dev/full"), print) as append,
    ):
        append({"a": 1})
    assert str(error.value) == "/dev/full: No space left on device"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "deep" / "d.jsonl"
    with pytest.raises(DataError, match=r"deep/d\.jsonl: Not a directory"):
        journal(path, print).__enter__()


@pytest.mark.parametrize("torn", ['{"n": 2', '{"n": "' + "x" * 200_000])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"n": 1}\n' + torn)
    shown: list[str] = []
    with journal(path, shown.append) as append:
        assert shown == [f"{path}: a torn last line was cut off"]
        append({"n": 3})
        assert read_lines(path) == [{"n": 1}, {"n": 3}]
    with journal(path, shown.append):
        assert len(shown) == 1


def test_a_file_of_one_torn_line_is_emptied(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text("{" * 100_000)
    with journal(path, print):
        pass
    assert path.read_text() == ""
