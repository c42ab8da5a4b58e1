"""The policy that is trained, with LoRA adapters or as a whole, and the frozen reference.

The policy stays in evaluation mode throughout. Dropout would make the log-probs of the update
differ from those of the rollout, and the ratio before the first step differ from 1.
"""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import Any

import torch
from peft import PeftModel, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM

from trainers.base.errors import ModelError
from trainers.base.loading import load_pretrained
from trainers.policy.logits import answer_logps
from trainers.policy.sequences import Sequences
from trainers.ppo.settings import PpoSettings
from trainers.runtime.lora import lora_config


def load_policy(settings: PpoSettings, device: torch.device) -> Any:
    """The model to train: as a whole, or frozen with adapters that start without any effect.

    Raises ModelError naming the folder if it holds no such model, or none of the layers that
    `lora.target_modules` names.
    """
    model = load_pretrained(
        AutoModelForCausalLM,
        settings.model,
        settings.revision,
        dtype=getattr(torch, settings.dtype),
    )
    model = model.to(device)
    config = lora_config(settings.lora, "CAUSAL_LM")
    if config is not None:
        try:
            torch.manual_seed(settings.seed)  # half of each adapter is drawn at random
            model = get_peft_model(model, config)
        except ValueError as error:
            raise ModelError(f"{settings.model}: lora.target_modules: {error}") from error
    return model.eval()


class Reference:
    """The policy as it was before the first update; the KL penalty is measured against it.

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
