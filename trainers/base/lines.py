"""Raw records of a file, one at a time: JSON lines, a JSON array, CSV or parquet.

A line that is no JSON object is yielded with the reason, so that the caller decides whether it
stops the run; only a file that cannot be opened at all is an error here.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from trainers.base.arrays import Broken, array_entries
from trainers.base.errors import DataError
from trainers.base.opening import PARQUET, check_head, kind_of, opened
from trainers.base.raw import RawRecord
from trainers.base.strict_json import decoder, loads
from trainers.base.tables import DELIMITERS, csv_rows, parquet_rows

_HEAD = 512
"""Bytes that tell an array from lines."""
MAX_LINE_BYTES = 16 * 1024 * 1024
"""A longer line is refused before it fills the memory."""


class BadLineError(ValueError):
    """A line that a reader cannot make sense of; the message is the reason alone."""


class NotTextError(BadLineError):
    """Content other than text, which a chat may hold and no trainer here can learn from."""


def read_rows(path: Path, *, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[RawRecord]:
    """Every record of the file in order; blank lines are skipped but numbered.

    The name says what a file holds: `.parquet`, `.csv`, `.tsv`, else JSON lines or one JSON array;
    `.gz` and `.zst` are unpacked on the way. Raises DataError for a file that is missing or is not
    what its name says.
    """
    try:
        with opened(path) as stream:
            kind = kind_of(path)
            if path.suffix == PARQUET:
                yield from parquet_rows(path)
            elif kind in DELIMITERS:
                yield from _unbroken(csv_rows(stream, path, DELIMITERS[kind], max_line_bytes), path)
            else:
                yield from _unbroken(_json(stream, path, max_line_bytes), path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


def _unbroken(rows: Iterator[RawRecord], path: Path) -> Iterator[RawRecord]:
    """The rows of a file that is unpacked on the way; a last one says where the packed data end.

    All before it is sound: that is what a writer leaves that was killed.
    """
    number = 0
    try:
        for row in rows:
            number = int(row.where.rpartition(":")[2])
            yield row
    except gzip.BadGzipFile as error:
        if number:
            raise DataError(f"{path}: a damaged gzip file: {error}") from error
        raise DataError(f"{path}: not a gzip file") from error
    except (EOFError, zlib.error):
        yield RawRecord(f"{path}:{number + 1}", None, "the gzip file ends in the middle")
    except OSError as error:
        if "Truncated compressed stream" in str(error):
            yield RawRecord(f"{path}:{number + 1}", None, "the zstd file ends in the middle")
        elif "ZSTD" in str(error):
            raise DataError(f"{path}: not a zstd file") from error
        else:
            raise


def _json(stream: IO[bytes], path: Path, limit: int) -> Iterator[RawRecord]:
    """JSON lines, or the entries of one array, which begins with `[{`."""
    buffered = cast(io.BufferedReader, stream)  # gzip's and the others have `peek` too
    head = buffered.peek(_HEAD)[:_HEAD]
    check_head(path, head)
    if head.startswith(codecs.BOM_UTF8):
        buffered.read(len(codecs.BOM_UTF8))
        head = head.removeprefix(codecs.BOM_UTF8)
    if re.match(rb"\s*\[\s*(\{|\]|$)", head):
        yield from _array_rows(buffered, path, limit)
    elif kind_of(path) == ".json" and re.match(rb"\s*\{\s*\n", head):
        raise DataError(f"{path}: one JSON object over lines; an array of records is expected")
    else:
        yield from _json_rows(buffered, path, limit)


def _array_rows(stream: IO[bytes], path: Path, limit: int) -> Iterator[RawRecord]:
    number = 0
    try:
        for values in array_entries(stream, decoder(), limit):
            number += 1
            yield _record(f"{path}:{number}", values)
    except Broken as error:
        yield RawRecord(f"{path}:{number + 1}", None, str(error))


def _json_rows(stream: IO[bytes], path: Path, limit: int) -> Iterator[RawRecord]:
    number = 0
    while True:
        number += 1
        where = f"{path}:{number}"
        line = stream.readline(limit + 1)
        if len(line) > limit and not line.endswith(b"\n"):
            _skip_line(stream, limit)
            yield RawRecord(where, None, f"longer than {limit} bytes")
            continue
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
        values = loads(text)
    except json.JSONDecodeError as error:
        return RawRecord(where, None, f"broken JSON: {error.msg} at column {error.colno}")
    except ValueError as error:
        return RawRecord(where, None, f"broken JSON: {error}")
    except RecursionError:
        return RawRecord(where, None, "broken JSON: nested too deeply")
    return _record(where, values)


def _record(where: str, values: Any) -> RawRecord:
    if not isinstance(values, dict):
        return RawRecord(where, None, "a JSON object is expected")
    return RawRecord(where, values)


def printable(name: str) -> str:
    """A name out of a file, which may hold anything, as part of an error of one line."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(name.split()))
