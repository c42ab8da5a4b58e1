"""A folder that is there whole or not at all, whatever ends the process that writes it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def publish(partial: Path, final: Path) -> None:
    """Give a finished folder its name, in place of an older folder of that name. Raises OSError.

    All of it reaches the disk first: after a power cut a name must not stand for an empty file.
    """
    for path in sorted(partial.rglob("*")):
        if path.is_file():
            # safetensors creates its file for the owner only, which a container's user may not be.
            path.chmod(0o644)
        flush(path)
    flush(partial)
    if final.exists():
        shutil.rmtree(final)
    partial.rename(final)
    flush(final.parent)


def flush(path: Path) -> None:
    """Wait until a file's or a folder's content is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
