"""`ensemble.json`: names reward models that were trained alike but for their seed."""

from collections.abc import Sequence
from pathlib import Path

from bon_common import ensemble
from trainers.base.errors import ModelError
from trainers.base.files import write_json


def write_ensemble(folder: Path, members: Sequence[str]) -> None:
    """Name the members: folders beside the file, each a whole reward model with `rm_meta.json`.

    Raises RunError if the disk is full.
    """
    write_json(folder / ensemble.NAME, {"members": list(members)})


def read_ensemble(folder: Path) -> tuple[str, ...] | None:
    """The members of the ensemble in a folder, or None if there is none.

    Raises ModelError for a broken file.
    """
    try:
        return ensemble.read_ensemble(folder)
    except ensemble.EnsembleError as error:
        raise ModelError(str(error)) from error


def refuse_ensemble(folder: str | Path, what: str) -> None:
    """Raise ModelError if the folder holds several models where `what` is one."""
    members = read_ensemble(Path(folder))
    if members is not None:
        raise ModelError(
            f"{folder}: an ensemble, and {what} is one model; name a member, such as "
            f"{Path(folder) / members[0]}"
        )
