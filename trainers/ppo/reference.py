"""The frozen policy that the KL penalty is measured against: where training started."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor

from trainers.policy.logits import answer_logps
from trainers.policy.sequences import Sequences


class Reference:
    """The policy as it was before the first update.

    A policy with LoRA adapters needs no copy: switched off, they leave its frozen base.
    """

    def __init__(self, policy: Any) -> None:
        self._adapted = isinstance(policy, PeftModel)
        self._model = policy
        if not self._adapted:
            self._model = copy.deepcopy(policy).eval().requires_grad_(False)

    def logps(self, sequences: Sequences, temperature: float) -> Tensor:
        """(rows, width) in nats, without gradient."""
        with torch.no_grad(), self._model.disable_adapter() if self._adapted else nullcontext():
            return answer_logps(self._model, sequences, temperature)
