"""Adapters with random weights, as a training run leaves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from transformers import AutoTokenizer

from trainers.base.settings import LoraSettings
from trainers.runtime.lora import Task, lora_config
from trainers.runtime.saving import save


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
