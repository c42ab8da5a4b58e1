"""How a reward model's checkpoint is loaded: as which class, where, and in which precision."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from bon_common.process_reward import StepReading
from reward_server.errors import StartupError
from reward_server.network.step_heads import scores_tokens, step_class


def class_of(
    path: str, revision: str | None, trust_remote_code: bool, steps: StepReading | None
) -> Any:
    """Raises StartupError if `steps` do not fit the checkpoint, and the library's own errors."""
    config = AutoConfig.from_pretrained(
        path, revision=revision, trust_remote_code=trust_remote_code
    )
    if steps is not None:
        try:
            return step_class(config)
        except ValueError as error:
            raise StartupError("model", str(error)) from error
    if (name := scores_tokens(config)) is not None:
        raise StartupError("steps", f"{name} scores the steps of an answer; say how to tell them")
    return AutoModelForSequenceClassification


def find_device(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise StartupError("device", f"{device} is not available on this machine")
    return device


def find_dtype(dtype: str, place: torch.device) -> torch.dtype:
    if dtype == "auto":
        return torch.float32 if place.type == "cpu" else torch.bfloat16
    found = getattr(torch, dtype, None)
    if not isinstance(found, torch.dtype):
        raise StartupError("dtype", f"torch has no dtype {dtype}")
    return found
