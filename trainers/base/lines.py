"""Raw records of a file, one at a time: JSONL, gzipped JSONL or parquet, never the whole file.

A line that is no JSON object is yielded with the reason, so that the caller decides whether it
stops the run; only a file that cannot be opened at all is an error here.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn, cast

from trainers.base.errors import DataError

MAX_LINE_BYTES = 16 * 1024 * 1024
"""A longer line is refused before it fills the memory."""


class BadLineError(ValueError):
    """A line that a reader cannot make sense of; the message is the reason alone."""


class NotTextError(BadLineError):
    """Content other than text, which a chat may hold and no trainer here can learn from."""


@dataclass(frozen=True)
class RawRecord:
    """One record as it stands in the file."""

    where: str
    """`file:line`; in a parquet file the row's number stands for the line."""
    values: Mapping[str, Any] | None
    """None if the line cannot be read."""
    reason: str = ""
    """Why it cannot be read."""


def read_rows(path: Path, *, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[RawRecord]:
    """Every record of the file in order; blank lines are skipped but numbered.

    `.gz` files are unpacked on the way, `.parquet` files read in batches. Raises DataError for
    a file that is missing or is not what its name says.
    """
    if path.suffix == ".parquet":
        yield from _parquet_rows(path)
        return
    try:
        with _open(path) as stream:
            yield from _json_rows(stream, path, max_line_bytes)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    return path.open("rb")


def _json_rows(stream: IO[bytes], path: Path, limit: int) -> Iterator[RawRecord]:
    number = 0
    while True:
        number += 1
        where = f"{path}:{number}"
        try:
            line = stream.readline(limit + 1)
            if len(line) > limit and not line.endswith(b"\n"):
                _skip_line(stream, limit)
                yield RawRecord(where, None, f"longer than {limit} bytes")
                continue
        except gzip.BadGzipFile as error:
            raise DataError(f"{path}: not a gzip file") from error
        except (EOFError, zlib.error):
            # What a writer leaves that was killed; all before it is sound.
            yield RawRecord(where, None, "the gzip file ends in the middle")
            return
        if not line:
            return
        if line.strip():
            yield _parse(line, where)


def _skip_line(stream: IO[bytes], limit: int) -> None:
    while True:
        chunk = stream.readline(limit)
        if not chunk or chunk.endswith(b"\n"):
            return


def _parse(line: bytes, where: str) -> RawRecord:
    try:
        # Without its end, so that a place in a broken line is a column of that line.
        text = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        return RawRecord(where, None, "not UTF-8 text")
    try:
        values = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        return RawRecord(where, None, f"broken JSON: {error.msg} at column {error.colno}")
    except ValueError as error:
        return RawRecord(where, None, f"broken JSON: {error}")
    except RecursionError:
        return RawRecord(where, None, "broken JSON: nested too deeply")
    if not isinstance(values, dict):
        return RawRecord(where, None, "a JSON object is expected")
    return RawRecord(where, values)


def _refuse_constant(name: str) -> NoReturn:
    """JSON has no NaN; Python's parser would take it, and a NaN score orders nothing."""
    raise ValueError(f"{name} is no JSON number")


def _parquet_rows(path: Path) -> Iterator[RawRecord]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=256):
                for values in batch.to_pylist():
                    number += 1
                    yield RawRecord(f"{path}:{number}", _without_nulls(values))
    except FileNotFoundError as error:
        raise DataError(f"{path}: No such file or directory") from error
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: not a parquet file: {_first_line(error)}") from error


def _without_nulls(values: Any) -> Any:
    """Parquet gives every row every column; a null there is a key that JSON would leave out."""
    if isinstance(values, dict):
        return {key: _without_nulls(v) for key, v in values.items() if v is not None}
    if isinstance(values, list):
        return [_without_nulls(value) for value in values]
    return values


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def printable(name: str) -> str:
    """A name out of a file, which may hold anything, as part of an error of one line."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(name.split()))
