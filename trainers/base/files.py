"""Files that are there whole or not at all, whatever ends the process that writes them."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from safetensors import SafetensorError

from bon_common.publish import flush
from trainers.base.data import write_records
from trainers.base.errors import RunError

PARTIAL = ".partial-"
"""How the names of unfinished files and folders begin."""

TORCH_WRITE_FAILED = ("PytorchStreamWriter", "inline_container", "unexpected pos", "write failed")
"""`torch.save` has no exception of its own for a disk that takes no more."""


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn a failure to write into a RunError of one line that begins with `what`."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise RunError(f"{what} could not be written: {_reason(error)}") from error
    except RuntimeError as error:
        if not any(sign in str(error) for sign in TORCH_WRITE_FAILED):
            raise
        raise RunError(f"{what} could not be written: the disk takes no more") from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write a file: under another name, which becomes `path` when the block ends well and
    everything is on the disk.

    Raises RunError if that cannot be done; what was there before is still there then.
    """
    partial = path.with_name(f"{PARTIAL}{path.name}")
    with disk_errors(str(path)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            flush(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def replaced(path: Path) -> Iterator[IO[str]]:
    """A text file to write to, as `whole`."""
    with whole(path) as partial, partial.open("w", encoding="utf-8") as out:
        yield out


def write_text(path: Path, text: str) -> None:
    """As `whole`."""
    with replaced(path) as out:
        out.write(text)


def write_json(path: Path, values: Any, *, ensure_ascii: bool = True) -> None:
    """Write `values` indented, as `whole`."""
    write_text(path, json.dumps(values, indent=2, ensure_ascii=ensure_ascii) + "\n")


def write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write JSONL, as `whole`."""
    with whole(path) as partial:
        write_records(partial, records)


def read_json(path: Path) -> Any:
    """The content of a file that `write_json` wrote; RunError for another."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: not a file of bon-train") from error


def remove_partial(folder: Path) -> None:
    """Remove what a killed run left unfinished in `folder`."""
    if folder.is_dir():
        for path in folder.glob(f"{PARTIAL}*"):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
