"""Adapters with random weights, as a training run leaves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from bon_gateway.demo_models import policy_path, reward_path
from trainers.base.settings import LoraSettings
from trainers.runtime.lora import Task, lora_config
from trainers.runtime.saving import save

KINDS = pytest.mark.parametrize(
    ("kind", "base", "task"),
    [
        pytest.param(AutoModelForCausalLM, policy_path, "CAUSAL_LM", id="policy"),
        pytest.param(AutoModelForSequenceClassification, reward_path, "SEQ_CLS", id="reward"),
    ],
)
"""What can be exported: its class, the folder of its base, its task as peft names it."""


def logits(model: Any) -> torch.Tensor:
    """Its outputs for one fixed sequence."""
    with torch.inference_mode():
        found: torch.Tensor = model.eval()(torch.tensor([[2, 40, 41, 1, 4, 50, 1]])).logits
    return found


def adapted(kind: Any, base: Path, task: Task, folder: Path) -> Any:
    """A run's folder: the adapter, and the model that it was merged into."""
    torch.manual_seed(1)
    config = lora_config(LoraSettings(r=4), task)
    assert config is not None
    model = get_peft_model(kind.from_pretrained(base), config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.05)
    save(model, AutoTokenizer.from_pretrained(base), folder)
    return model
