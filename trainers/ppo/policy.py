"""The policy: a causal language model that is trained, with LoRA adapters or as a whole.

It stays in evaluation mode throughout. Dropout would make the log-probs of the update differ from
those of the rollout, and the ratio before the first step differ from 1.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM

from trainers.base.errors import ModelError
from trainers.base.loading import load_pretrained
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
