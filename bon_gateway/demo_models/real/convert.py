"""Unpacks the model's weights: ``python -m bon_gateway.demo_models.real.convert FILE FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from bon_gateway.demo_models.real.facts import PADDING


def convert(packed: Path, folder: Path) -> None:
    """Write a folder that transformers and vLLM open, with weights in bfloat16."""
    where = {"pretrained_model_name_or_path": str(packed.parent), "gguf_file": packed.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    tokenizer.pad_token = PADDING
    # Without dequantize the weights would stay packed, and could not be saved.
    model = AutoModelForCausalLM.from_pretrained(
        **where, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    config = model.config
    # The file names no class of transformers, and vLLM asks for it.
    config.architectures = [type(model).__name__]
    for name in ("quantization_config", "_model_name_or_path"):
        if hasattr(config, name):
            delattr(config, name)
    config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
