"""Folders and patterns as inputs: the files that they stand for."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from trainers.base.errors import DataError
from trainers.base.opening import PACKED, PARQUET, kind_of
from trainers.base.tables import DELIMITERS
from trainers.preferences.tally import Tally

ENDINGS = frozenset({".jsonl", ".json", PARQUET, *DELIMITERS})
REPORT = ".report.json"
NOT_DATA = "files of a folder that are not data, left out"
EMPTY = "empty files, left out"
TWICE = "files that are there packed too, left out"


def data_files(inputs: Iterable[Path], tally: Tally) -> tuple[Path, ...]:
    """The files of each input in order: the file itself, those of a folder, or a pattern's.

    A folder stands for the data files in it, not for those in its folders; the gateway's recording
    folder is one. What is left out is counted. Raises DataError for a folder or a pattern without a
    data file.
    """
    found: dict[Path, None] = {}
    for path in inputs:
        found |= dict.fromkeys(_files(path, tally))
    return tuple(found)


def _files(path: Path, tally: Tally) -> list[Path]:
    try:
        return _found(path, tally)
    except OSError as error:  # a folder that may not be read, a name that is too long
        raise DataError(f"{path}: {error.strerror or error}") from error


def _found(path: Path, tally: Tally) -> list[Path]:
    if path.is_dir():
        inside = [one for one in path.iterdir() if one.is_file() and not one.name.startswith(".")]
        return _usable(path, inside, tally)
    if glob.has_magic(str(path)) and not path.exists():
        # Path.glob takes relative patterns only.
        matches = map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207
        return _usable(path, [one for one in matches if one.is_file()], tally)
    return [path]  # a missing one is named when it is opened


def _usable(whole: Path, files: list[Path], tally: Tally) -> list[Path]:
    data = {one for one in files if kind_of(one) in ENDINGS and not one.name.endswith(REPORT)}
    tally.note(NOT_DATA, len(files) - len(data))
    kept = []
    for one in sorted(data):
        packed = [one.with_name(one.name + ending) for ending in PACKED]
        if any(other in data for other in packed):
            # The gateway writes the packed file whole before it removes the other.
            tally.note(TWICE)
        elif not one.stat().st_size:
            tally.note(EMPTY)
        else:
            kept.append(one)
    if not kept:
        endings = ", ".join(sorted(ENDINGS))
        raise DataError(f"{whole}: no file with data; data files end in {endings}")
    return kept
