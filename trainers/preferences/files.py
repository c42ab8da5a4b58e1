"""Journals, which are only appended to, and reports."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainers.base.data import data_hash
from trainers.base.errors import DataError
from trainers.base.files import write_json
from trainers.base.settings import Settings
from trainers.base.sole_writer import lock
from trainers.preferences.tally import Tally, short_names

Append = Callable[[Mapping[str, Any]], None]
"""Writes one line at once; DataError if it cannot be written."""


@contextmanager
def journal(path: Path, show: Callable[[str], None]) -> Iterator[Append]:
    """A JSONL file that a run appends to, so that a stopped run goes on where it stopped.

    A killed run may leave a torn last line, which is cut off first. DataError if the file cannot be
    opened, RunError if another run is writing to it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        out = path.open("ab", buffering=0)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error

    def append(record: Mapping[str, Any]) -> None:
        line = (json.dumps(record, ensure_ascii=False) + "\n").encode()
        try:
            while line:  # a disk that is nearly full takes a part
                line = line[out.write(line) :]
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from error

    with out:
        lock(out.fileno(), path)  # another run's last line may look torn
        try:
            if _cut_torn_line(path):
                show(f"{path}: a torn last line was cut off")
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from error
        try:
            yield append
        except KeyboardInterrupt:
            show(f"stopped; {path} is whole, the same command goes on")
            raise


def _cut_torn_line(path: Path) -> int:
    """Remove what follows the last line break; returns the number of bytes."""
    with path.open("rb+") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 65536)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            file.truncate(end)
    return size - end


def write_report(
    path: Path, settings: Settings, tally: Tally, inputs: Mapping[str, Sequence[Path]], **rest: Any
) -> None:
    """Write inputs, settings, what was dropped and why, and `rest`.

    Each of `inputs` becomes the SHA-256 of its files by their names.
    """
    files = {
        key: {name: data_hash(file) for file, name in short_names(paths).items()}
        for key, paths in inputs.items()
    }
    places = {"input", "prompts", "output", "policy"}
    chosen = {"settings": settings.model_dump(mode="json", exclude=places)}
    write_json(path, {**files, **chosen, **tally.as_json(), **rest}, ensure_ascii=False)


def report_path(output: Path) -> Path:
    """`answers.report.json` beside `answers.jsonl`."""
    return output.with_name(f"{output.name.removesuffix('.jsonl')}.report.json")


def journal_path(output: Path) -> Path:
    """`preferences.labels.jsonl` beside `preferences.jsonl`."""
    return output.with_name(f"{output.name.removesuffix('.jsonl')}.labels.jsonl")
