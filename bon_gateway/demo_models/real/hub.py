"""The model as the hub has it, at one revision."""

from __future__ import annotations

from pathlib import Path

from bon_gateway.demo_models.real.facts import (
    HUB_NAME,
    HUB_REVISION,
    HUB_WEIGHTS_SHA256,
    HubUnreachableError,
    RealModelError,
)
from bon_gateway.demo_models.real.files import sha256

FILES = ("*.json", "model.safetensors", "*.jinja", "merges.txt")
PROBE_S = 5.0
"""Seconds to wait for a hub that may not be there."""


def reach() -> None:
    """Ask the hub for the model; HubUnreachableError if it gives no answer in time. The hub's own
    variables hold, such as HF_ENDPOINT for a mirror and HF_HUB_OFFLINE."""
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(HUB_NAME, revision=HUB_REVISION, timeout=PROBE_S)
    except Exception as error:
        # Its HTTP library has errors of its own, which are not the same in all its releases.
        raise HubUnreachableError(f"the model hub: {_line(error)}") from error


def fetch(folder: Path) -> None:
    """Download the model's files into `folder`. What an earlier run has downloaded is used.

    Raises HubUnreachableError if the hub goes away, RealModelError for weights that are not the
    right ones.
    """
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(
            HUB_NAME, revision=HUB_REVISION, local_dir=folder, allow_patterns=list(FILES)
        )
    except Exception as error:
        raise HubUnreachableError(f"the model hub: {_line(error)}") from error
    weights = folder / "model.safetensors"
    if sha256(weights) != HUB_WEIGHTS_SHA256:
        weights.unlink(missing_ok=True)
        raise RealModelError(f"{HUB_NAME}: the hub's weights have another hash; nothing was kept")


def _line(error: Exception) -> str:
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
