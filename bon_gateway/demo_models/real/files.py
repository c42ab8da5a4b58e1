"""Hashes of files, and a lock on a folder that is made."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PIECE = 1 << 20
LENGTH_BYTES = 8
"""A safetensors file begins with the length of its JSON head."""


def sha256(path: Path) -> str:
    """Of the file's bytes; empty for one that is not there."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors_sha256(path: Path) -> str:
    """Of every tensor's name, type, shape and bytes, by name. The order in which a release of
    safetensors writes them does not matter."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        head = int.from_bytes(file.read(LENGTH_BYTES), "little")
        tensors = json.loads(file.read(head))
        tensors.pop("__metadata__", None)
        for name in sorted(tensors):
            tensor = tensors[name]
            begin, end = tensor["data_offsets"]
            digest.update(json.dumps([name, tensor["dtype"], tensor["shape"]]).encode())
            file.seek(LENGTH_BYTES + head + begin)
            for start in range(begin, end, PIECE):
                digest.update(file.read(min(PIECE, end - start)))
    return digest.hexdigest()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait for another process that makes the same folder."""
    with folder.with_name(f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
