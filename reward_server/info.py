"""What is loaded under a name, for `/v1/models` and for the scorers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from bon_common.process_reward import StepReading

Activation = Literal["sigmoid", "softmax", "none"]
"""Function that other servers apply to a classifier's numbers before they answer."""


@dataclass(frozen=True)
class ModelInfo:
    """One model."""

    name: str
    device: str
    dtype: str
    pooling: str
    parameters: int
    labels: tuple[str, ...]
    weights: tuple[float, ...]
    """Weight of each label in the reward."""
    max_tokens: int
    normalisation: dict[str, Any] | None = None
    """Statistics that the checkpoint's trainer left. Rewards are raw nevertheless."""
    revision: str | None = None
    layout: str = "padded"
    """`shared_prompt` where candidates are computed without padding, their prompt once."""
    partial_turn: str = "closed"
    activation: Activation = "sigmoid"
    """Function that vLLM applies to this model's numbers, unless a client asks for raw ones."""
    steps: StepReading | None = None
    """How a process reward model reads steps. Its one label means a right step."""

    @property
    def gives_probabilities(self) -> bool:
        """Whether its rewards are probabilities, which no further function may change."""
        return self.steps is not None


@dataclass(frozen=True)
class EnsembleInfo:
    """Several models that are asked together."""

    name: str
    members: tuple[str, ...]
    combine: str
    max_tokens: int
    """The smallest among its members."""
    penalty: float | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Whether it gives one number."""
        return ("ensemble",)

    @property
    def activation(self) -> Activation:
        return "sigmoid"

    @property
    def gives_probabilities(self) -> bool:
        return False
