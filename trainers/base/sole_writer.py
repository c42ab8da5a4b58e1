"""One run at a time writes into a folder or a journal: two would remove each other's work."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trainers.base.errors import RunError
from trainers.base.files import disk_errors
from trainers.base.outputs import require_place


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold `folder`, which is made if need be, as long as the block lasts. One that is then empty
    goes again.

    Raises RunError if another run holds it, or if it cannot be made. The lock ends with the
    process, however that ends; on file systems without locks there is none.
    """
    require_place(folder)
    with disk_errors(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        lock(descriptor, folder)
        try:
            yield
        finally:
            with suppress(OSError):
                folder.rmdir()
    finally:
        os.close(descriptor)


def lock(descriptor: int, path: Path) -> None:
    """Hold what is open there until it is closed; RunError, naming `path`, if another run does."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunError(f"{path}: another run is writing there") from error
    except OSError:  # as some network file systems say
        return
