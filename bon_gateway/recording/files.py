"""The files of the candidate log: ``candidates-<time>-<process>-<number>.jsonl``, with ``.gz`` once
they are closed for their size.

Every worker writes its own files, so lines of two workers never mix. The open file is locked: the
lock tells a file that is still written from one that a dead worker has left behind. Only their
owner may read the files.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import os
import shutil
import time
from pathlib import Path

from bon_common.settings.errors import SettingsError
from bon_gateway.sections.recording import RecordingSettings

PREFIX = "candidates-"
OPEN_SUFFIX = ".jsonl"
CLOSED_SUFFIX = ".jsonl.gz"
PARTIAL_SUFFIX = ".jsonl.gz.part"
COMPRESSION = 3
"""gzip level: it saves two thirds of what the best level saves, in a fraction of the time."""
_OUT_OF_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


def prepare_folder(folder: str) -> None:
    """Make the folder if need be and try to write to it. Raises SettingsError.

    A full disk is no error, because it may have room later.
    """
    probe = Path(folder) / f"{PREFIX}probe-{os.getpid()}"
    try:
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT, 0o600))
        probe.unlink()
    except OSError as error:
        if error.errno in _OUT_OF_SPACE:
            return
        reason = f"cannot be written to: {error.strerror}"
        raise SettingsError("recording", "recording.folder", f"{folder}: {reason}") from None


class LogFiles:
    """Appends whole lines to one file at a time. Used by one thread; raises OSError."""

    def __init__(self, settings: RecordingSettings) -> None:
        self._settings = settings
        self._folder = Path(settings.folder or "")
        started = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        # The process id is not enough: containers may share a volume, and each runs as process 1.
        self._stem = f"{PREFIX}{started}-{os.getpid()}{os.urandom(3).hex()}"
        self._number = 0
        self._path: Path | None = None
        self._handle: int | None = None
        self._size = 0

    def append(self, line: bytes) -> None:
        """Write the whole ``line`` or, with an OSError, nothing of it.

        The next file is begun first if this one is large enough or is no longer in the folder.
        """
        handle = self._ready()
        try:
            _write_all(handle, line)
        except OSError:
            self._take_back(handle)
            raise
        self._size += len(line)

    def close(self) -> None:
        """Close the open file without compressing it, which would take time."""
        if self._handle is not None:
            handle, self._handle = self._handle, None
            os.close(handle)

    def _take_back(self, handle: int) -> None:
        """Remove half a line, which would spoil the next line too."""
        try:
            os.ftruncate(handle, self._size)
        except OSError:
            self.close()

    def _ready(self) -> int:
        if self._handle is not None:
            if os.fstat(self._handle).st_nlink == 0:
                self.close()
            elif self._size >= self._settings.max_bytes:
                self._rotate()
        if self._handle is None:
            self._handle = self._open()
        return self._handle

    def _open(self) -> int:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._number += 1
        self._path = self._folder / f"{self._stem}-{self._number:06d}{OPEN_SUFFIX}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        handle = os.open(self._path, flags, 0o600)
        # On a file system without locks the files of dead workers stay. Nothing else changes.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._size = 0
        with contextlib.suppress(OSError):
            _prune(self._folder, self._settings.keep)
        return handle

    def _rotate(self) -> None:
        """Compress the file and leave it. If compressing fails, it stays as it is."""
        handle, path = self._handle, self._path
        assert handle is not None
        assert path is not None
        self._handle = None
        try:
            if self._settings.gzip:
                with contextlib.suppress(OSError):
                    _compress(handle, path)
        finally:
            os.close(handle)


def _write_all(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]


def _compress(handle: int, path: Path) -> None:
    """Replace ``path``, open and locked as ``handle``, by its compressed form."""
    partial = path.with_name(path.name.removesuffix(OPEN_SUFFIX) + PARTIAL_SUFFIX)
    os.lseek(handle, 0, os.SEEK_SET)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        with (
            os.fdopen(os.open(partial, flags, 0o600), "wb") as raw,
            gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=COMPRESSION) as packed,
            os.fdopen(handle, "rb", closefd=False) as plain,
        ):
            shutil.copyfileobj(plain, packed, 1 << 20)
        partial.replace(partial.with_name(partial.name.removesuffix(".part")))
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    path.unlink(missing_ok=True)


def _prune(folder: Path, keep: int) -> None:
    """Remove the oldest closed files beyond ``keep``, and files that were left half compressed.

    Other workers may do the same at the same time.
    """
    for partial in folder.glob(f"{PREFIX}*{PARTIAL_SUFFIX}"):
        source = partial.with_name(partial.name.removesuffix(PARTIAL_SUFFIX) + OPEN_SUFFIX)
        if not _is_written(source):
            partial.unlink(missing_ok=True)
    closed = [*folder.glob(f"{PREFIX}*{CLOSED_SUFFIX}")]
    closed += [path for path in folder.glob(f"{PREFIX}*{OPEN_SUFFIX}") if not _is_written(path)]
    for path in sorted(closed, key=_last_written)[:-keep]:
        path.unlink(missing_ok=True)


def _last_written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _is_written(path: Path) -> bool:
    """Whether a process holds, or may hold, the file's lock."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False
