"""Checkpoints, with all that a resumed run needs: weights, optimiser, beta, number of iterations.

Random numbers and the order of the prompts follow from seed and iteration (`seeds`), so they are
not stored. `trainers.runtime` knows which checkpoint is whole and which settings it fits.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainers.base.data import data_hash
from trainers.base.errors import RunError
from trainers.ppo.models import PpoParts
from trainers.ppo.settings import PpoSettings
from trainers.runtime.checkpoints import NAME, Checkpoints

STATE = "state.pt"


def deciding_settings(settings: PpoSettings) -> dict[str, Any]:
    """The settings and data on which a run's figures depend, as JSON."""
    values = settings.deciding()
    if settings.update.decay == "constant":
        del values["iterations"]  # decides only where the run ends
    return {**values, "data": data_hash(settings.prompts)}


def save_checkpoint(
    checkpoints: Checkpoints, settings: PpoSettings, parts: PpoParts, done: int, beta: float
) -> None:
    """Write the state after `done` iterations; RunError if the disk takes no more."""
    folder = checkpoints.begin() / f"{NAME}{done}"
    with checkpoints.errors(done):
        shutil.rmtree(checkpoints.begin(), ignore_errors=True)
        folder.mkdir(parents=True)
        state = {
            "beta": beta,
            "policy": _trained(parts.policy),
            "value": _trained(parts.value),
            "optimizer": parts.updater.optimizer.state_dict(),
        }
        torch.save(state, folder / STATE)
    checkpoints.finish(done, deciding_settings(settings))


def load_checkpoint(folder: Path, parts: PpoParts) -> float:
    """Put the state back in place; returns beta."""
    try:
        state = torch.load(folder / STATE, map_location=parts.policy.device, weights_only=True)
    except (OSError, RuntimeError) as error:
        raise RunError(f"{folder}: no checkpoint of bon-train ppo can be read") from error
    for model, saved in ((parts.policy, state["policy"]), (parts.value, state["value"])):
        with torch.no_grad():
            for name, parameter in _trained(model).items():
                parameter.copy_(saved[name])
    parts.updater.optimizer.load_state_dict(state["optimizer"])
    return float(state["beta"])


def _trained(model: Any) -> dict[str, Tensor]:
    """The parameters that training changes, by name, sharing their memory."""
    return {name: p.data for name, p in model.named_parameters() if p.requires_grad}
