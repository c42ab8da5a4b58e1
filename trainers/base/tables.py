"""Rows of tables: CSV and parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from trainers.base.errors import DataError
from trainers.base.raw import Cell, RawRecord
from trainers.base.strict_json import loads

DELIMITERS = {".csv": ",", ".tsv": "\t"}


def csv_rows(stream: IO[bytes], path: Path, delimiter: str, limit: int) -> Iterator[RawRecord]:
    """The rows under the names of the first one; empty cells are left out.

    A row is named by the line on which it ends. Raises DataError for text that is not UTF-8, and
    for a header that names a column twice.
    """
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    old_limit = csv.field_size_limit(limit)
    try:
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        header = enumerate(next(reader, []), start=1)
        # pandas writes its index under no name.
        names = [name or f"column {place}" for place, name in header]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise DataError(f"{path}:1: the column {min(twice)!r} is there twice")
        for cells in reader:
            where = f"{path}:{reader.line_num}"
            if not cells:
                continue
            if len(cells) != len(names):
                yield RawRecord(where, None, f"{len(cells)} cells for {len(names)} columns")
            else:
                pairs = zip(names, cells, strict=True)
                yield RawRecord(where, {name: _value(cell) for name, cell in pairs if cell})
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: broken CSV: {error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text") from error
    finally:
        csv.field_size_limit(old_limit)
        text.detach()


def _value(cell: str) -> Any:
    """A list of messages, which JSON in a cell may hold, or the cell's text."""
    if cell.lstrip().startswith("[{"):
        try:
            found = loads(cell)
        except (ValueError, RecursionError):
            return Cell(cell)
        if all("role" in item or "from" in item for item in found if isinstance(item, dict)):
            return found
    return Cell(cell)


def parquet_rows(path: Path) -> Iterator[RawRecord]:
    """The rows, read in batches; DataError for what is no parquet file."""
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
