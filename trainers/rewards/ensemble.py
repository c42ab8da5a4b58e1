"""`ensemble.json`: names reward models that were trained alike but for their seed."""

import json
from collections.abc import Sequence
from pathlib import Path

from trainers.base.errors import ModelError
from trainers.base.files import write_json

NAME = "ensemble.json"


def write_ensemble(folder: Path, members: Sequence[str]) -> None:
    """Name the members: folders beside the file, each a whole reward model with `rm_meta.json`.

    Raises RunError if the disk is full.
    """
    write_json(folder / NAME, {"members": list(members)})


def read_ensemble(folder: Path) -> tuple[str, ...] | None:
    """The members of the ensemble in a folder, or None if there is none.

    Raises ModelError for a broken file.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        members = tuple(str(name) for name in json.loads(path.read_text("utf-8"))["members"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not what bon-train reward writes: {error}") from error
    if not members:
        raise ModelError(f"{path}: no members")
    return members


def refuse_ensemble(folder: str | Path, what: str) -> None:
    """Raise ModelError if the folder holds several models where `what` is one."""
    members = read_ensemble(Path(folder))
    if members is not None:
        raise ModelError(
            f"{folder}: an ensemble, and {what} is one model; name a member, such as "
            f"{Path(folder) / members[0]}"
        )
