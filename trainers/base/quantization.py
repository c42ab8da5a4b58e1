"""QLoRA: frozen weights in four bits under an adapter (Dettmers et al. 2023, arXiv:2305.14314)."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from trainers.base.errors import ModelError


def quantization_options(name: str) -> dict[str, Any]:
    """What `from_pretrained` needs to load in four bits, of the kind `name`.

    Raises ModelError on a machine that cannot compute so.
    """
    if not torch.cuda.is_available():
        raise ModelError(f"quantization: {name} needs a CUDA GPU, and this machine has none")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(f"quantization: {name} needs bitsandbytes, which is not installed")
    four_bits = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type=name,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": four_bits, "device_map": {"": torch.cuda.current_device()}}
