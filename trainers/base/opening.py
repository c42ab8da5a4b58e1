"""Opens a data file, whatever packs it; what is no data is named for what it is."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from trainers.base.errors import DataError

PACKED = (".gz", ".zst")
PARQUET = ".parquet"
_HEAD = 512
"""Bytes at the start of a file that tell what it is."""
_NOT_DATA: tuple[tuple[bytes, str], ...] = (
    (
        b"version https://git-lfs",
        "a pointer of Git LFS, not the data; `git lfs pull` gets the data",
    ),
    (b"/annex/objects/", "a pointer of git-annex, not the data; `git annex get` gets the data"),
    (b"<!doctype html", "a web page; the download gave a page in place of the data"),
    (b"<html", "a web page; the download gave a page in place of the data"),
    (b"<?xml", "XML, which is not read; export it as JSONL"),
    (b"pk\x03\x04", "a zip archive or a spreadsheet; unpack it, or export it as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet or document; export it as CSV"),
    (b"bzh91ay&sy", "packed with bzip2, which is not read; unpack it"),
    (b"\xfd7zxz", "packed with xz, which is not read; unpack it"),
    (b"7z\xbc\xaf", "a 7-Zip archive; unpack it"),
    (b"arrow1", "an Arrow file; write it as parquet"),
    (b"\xff\xff\xff\xff", "an Arrow stream, as datasets keeps on the disk; write it as parquet"),
    (b"sqlite format 3", "an SQLite database; export it as CSV"),
    (b"%pdf-", "a PDF"),
)
"""How files begin, in small letters, and what they are."""
_OTHER_NAMES = (
    (b"\x1f\x8b", ".gz", "packed with gzip"),
    (b"\x28\xb5\x2f\xfd", ".zst", "packed with zstd"),
    (b"PAR1", PARQUET, "a parquet file"),
)
"""What is read under one ending only, since a file's name says how it is read."""


def kind_of(path: Path) -> str:
    """The ending that says what a file holds, without the one that says how it is packed."""
    names = path.suffixes
    return names[-2] if len(names) > 1 and names[-1] in PACKED else path.suffix


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked, from their start.

    Raises DataError for a file that is missing or is no data, and OSError while it is read.
    """
    try:
        with path.open("rb") as file:
            _check(path, file.read(_HEAD), path.suffix)
    except IsADirectoryError as error:
        raise DataError(f"{path}: a folder, where a file is expected") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    with _unpacked(path) as stream:
        yield stream


def check_head(path: Path, head: bytes) -> None:
    """Raise DataError if what a packed file holds is no data."""
    _check(path, head, "")


def _check(path: Path, head: bytes, suffix: str) -> None:
    small = head.lower()
    start = small.removeprefix(b"\xef\xbb\xbf").lstrip()
    for sign, what in _NOT_DATA:
        if small.startswith(sign) or start.startswith(sign):
            raise DataError(f"{path}: {what}")
    for sign, ending, what in _OTHER_NAMES:
        if head.startswith(sign) and suffix != ending:
            raise DataError(f"{path}: {what}; give it the ending {ending}")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) and b"\0" in head:
        raise DataError(f"{path}: UTF-16 text; UTF-8 is expected")
    if head[257:262] == b"ustar":
        raise DataError(f"{path}: a tar archive; unpack it")


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    if path.suffix == ".gz":
        with gzip.open(path, "rb") as unzipped:
            yield cast(IO[bytes], unzipped)
    elif path.suffix == ".zst":
        with _zstd(path) as stream:
            yield stream
    else:
        with path.open("rb") as file:
            yield file


@contextmanager
def _zstd(path: Path) -> Iterator[IO[bytes]]:
    try:
        import pyarrow
    except ImportError as error:
        raise DataError(
            f"{path}: zstd is unpacked by pyarrow, which is not installed: pip install pyarrow"
        ) from error
    with (
        pyarrow.OSFile(str(path)) as packed,
        pyarrow.CompressedInputStream(packed, "zstd") as stream,
    ):
        yield cast(IO[bytes], io.BufferedReader(stream))
