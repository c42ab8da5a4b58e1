"""A reward adapter with random weights, in the files that `bon-train reward` leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from trainers.base.settings import LoraSettings
from trainers.rewards.meta import Dimension, RewardMeta, Spread, write_meta
from trainers.runtime.lora import lora_config
from trainers.runtime.saving import ADAPTER, save


def write_random_adapter(base: Path, folder: Path) -> Path:
    """A run's folder, with the model that the trainers merge; the adapter's folder within it."""
    torch.manual_seed(1)
    config = lora_config(LoraSettings(r=4), "SEQ_CLS", ["score"])
    assert config is not None
    net: Any = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=1, dtype=torch.float32
    )
    model: Any = get_peft_model(net, config)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.05)
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    save(model, tokenizer, folder)
    meta = RewardMeta(
        normalisation=Spread(0.0, 1.0, 2),
        dimensions=[Dimension("LABEL_0", 1.0, 0.0, 1.0)],
        objective="pairwise",
        answers_per_prompt=2,
        max_length=256,
        chat_template_sha256=None,
        pad_token_id=int(tokenizer.pad_token_id),
        eos_token_id=int(tokenizer.eos_token_id),
        data={},
    )
    write_meta(folder / ADAPTER, meta)
    return folder / ADAPTER
