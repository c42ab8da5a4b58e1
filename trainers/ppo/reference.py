"""The frozen policy that the KL penalty is measured against: where training started."""

from __future__ import annotations

import copy
from typing import Any, Protocol

import torch
from torch import Tensor

from trainers.policy.logits import answer_logps
from trainers.policy.sequences import Sequences


class Reference(Protocol):
    """Log-probs that training does not change."""

    def logps(self, sequences: Sequences, temperature: float) -> Tensor:
        """(rows, width) in nats, without gradient."""
        ...


class CopiedReference:
    """A copy of the whole policy, taken before the first update."""

    def __init__(self, policy: Any) -> None:
        self._model = copy.deepcopy(policy).eval().requires_grad_(False)

    def logps(self, sequences: Sequences, temperature: float) -> Tensor:
        with torch.no_grad():
            return answer_logps(self._model, sequences, temperature)


class AdapterFreeReference:
    """The policy itself with its LoRA adapters switched off: the base is frozen, so no copy is
    needed."""

    def __init__(self, policy: Any) -> None:
        self._model = policy

    def logps(self, sequences: Sequences, temperature: float) -> Tensor:
        with torch.no_grad(), self._model.disable_adapter():
            return answer_logps(self._model, sequences, temperature)
