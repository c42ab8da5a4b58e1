"""Several reward models of one recipe, differing in their seed, and what they say together.

Where members disagree, none can be trusted: choosing by the lowest of their rewards is harder to
exploit than choosing by one (Coste et al. 2023, arXiv:2310.02743).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from trainers.base.errors import ModelError
from trainers.base.files import write_text

NAME = "ensemble.json"
Combine = Literal["mean", "worst"]


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


def combine(rewards: Sequence[torch.Tensor], how: Combine) -> torch.Tensor:
    """One number an answer, shape (answers,), from the members' standardised rewards.

    Raw rewards of different members differ in zero point and scale, which no loss on differences
    fixes; each must be standardised by its own mean and spread first.
    """
    together = torch.stack(list(rewards))
    return together.mean(0) if how == "mean" else together.min(0).values
