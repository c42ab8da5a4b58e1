"""The file that names several reward models of one recipe, which differ in their seed."""

import json
from dataclasses import dataclass
from pathlib import Path

from trainers.base.errors import ModelError
from trainers.base.files import write_text

NAME = "ensemble.json"


@dataclass(frozen=True)
class Ensemble:
    members: tuple[str, ...]
    """Folders beside `ensemble.json`, each a whole reward model with its `rm_meta.json`."""


def write_ensemble(folder: Path, ensemble: Ensemble) -> None:
    """Raises RunError if the disk is full."""
    write_text(folder / NAME, json.dumps({"members": list(ensemble.members)}, indent=2) + "\n")


def read_ensemble(folder: Path) -> Ensemble | None:
    """The ensemble in a folder, or None if there is none; ModelError for a broken file."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        members = tuple(str(name) for name in json.loads(path.read_text("utf-8"))["members"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not what bon-train reward writes: {error}") from error
    if not members:
        raise ModelError(f"{path}: no members")
    return Ensemble(members)


def refuse_ensemble(folder: str | Path, what: str) -> None:
    """Raise ModelError if the folder holds several models where `what` is one."""
    ensemble = read_ensemble(Path(folder))
    if ensemble is not None:
        raise ModelError(
            f"{folder}: an ensemble, and {what} is one model; name a member, such as "
            f"{Path(folder) / ensemble.members[0]}"
        )
