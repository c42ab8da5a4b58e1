"""Files that are only ever appended to, and where reports go."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trainers.base.errors import DataError, SettingsError


class Journal:
    """A JSONL file that a run appends to, so that a killed run goes on where it stopped.

    Each line is written at once. What a killed run left of a last line is cut off when
    the file is opened again.
    """

    def __init__(self, path: Path) -> None:
        """Open for appending, making the folder; DataError if that cannot be done."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._out = path.open("ab", buffering=0)
            self.cut = _cut_torn_line(path)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from error

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one line; DataError if it cannot be written."""
        line = (json.dumps(record, ensure_ascii=False) + "\n").encode()
        try:
            while line:  # a disk that is nearly full takes a part
                line = line[self._out.write(line) :]
        except OSError as error:
            raise DataError(f"{self.path}: {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._out.close()


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


def refuse_overwriting(inputs: Iterable[Path], outputs: Iterable[Path]) -> None:
    """Raise SettingsError if what is written would take the place of what is read."""
    read = {path.resolve() for path in inputs}
    for path in outputs:
        if path.resolve() in read:
            raise SettingsError(f"output: {path} is an input, and would be overwritten")


def report_path(output: Path) -> Path:
    """`answers.report.json` beside `answers.jsonl`."""
    return output.with_name(f"{output.name.removesuffix('.jsonl')}.report.json")
