"""What is loaded under a name, for `/v1/models` and for those who score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelInfo:
    """A network."""

    name: str
    device: str
    dtype: str
    pooling: str
    parameters: int
    labels: tuple[str, ...]
    weights: tuple[float, ...]
    """Of each label in the reward."""
    max_tokens: int
    normalisation: dict[str, Any] | None = None
    """Statistics that the checkpoint's trainer left; rewards are raw all the same."""
    revision: str | None = None
    layout: str = "padded"
    """`shared_prompt` where candidates are computed without padding, their prompt once."""
    partial_turn: str = "closed"


@dataclass(frozen=True)
class EnsembleInfo:
    """Several models that are asked together."""

    name: str
    members: tuple[str, ...]
    combine: str
    max_tokens: int
    """Of the member that reads least."""
    penalty: float | None = None
