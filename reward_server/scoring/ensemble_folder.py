"""A folder with `ensemble.json`, as `bon-train reward` writes it, served under one name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bon_common.ensemble import EnsembleError, read_ensemble
from reward_server.errors import StartupError
from reward_server.model_settings import EnsembleSettings, ModelSettings


def members_of(
    settings: ModelSettings,
) -> tuple[Mapping[str, ModelSettings], EnsembleSettings] | None:
    """The models of an ensemble's folder and how they are joined; None for a model's own folder.

    Raises StartupError for a broken file, and for an ensemble of one.
    """
    folder = Path(settings.model)
    try:
        names = read_ensemble(folder)
    except EnsembleError as error:
        raise StartupError("model", str(error)) from error
    if names is None:
        return None
    if len(names) < 2:
        raise StartupError("model", f"an ensemble of one model: serve {folder / names[0]}")
    members = {
        name: settings.model_copy(
            update={
                "model": str(folder / name),
                "served_model_name": f"{settings.model_name}/{name}",
            }
        )
        for name in names
    }
    joined = EnsembleSettings(
        type="ensemble", members=names, combine=settings.combine, penalty=settings.penalty
    )
    return members, joined
