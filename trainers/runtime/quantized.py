"""What an adapter is worth that was trained over weights in four bits."""

from __future__ import annotations

import copy
from typing import Any

import torch
from peft import get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict

from bon_common.loaded_model import UnfitModelError, require_weights
from trainers.base.adapters import INNER
from trainers.base.errors import ModelError


def is_quantized(model: Any) -> bool:
    """Whether the weights below an adapter are in four bits."""
    return bool(getattr(model.get_base_model(), "is_loaded_in_4bit", False))


def merged_into_float(model: Any) -> Any:
    """The float32 weights that `model` was loaded from, with its adapter added to them.

    Merged in four bits, the adapter's small steps would be rounded away, and nothing but
    bitsandbytes could read the result.
    """
    quantized = model.get_base_model()
    config = copy.deepcopy(quantized.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    state = {
        name: tensor.float().cpu() for name, tensor in get_peft_model_state_dict(model).items()
    }
    plain, info = type(quantized).from_pretrained(
        config.name_or_path,
        config=config,
        revision=getattr(config, "_commit_hash", None) or "main",
        dtype=torch.float32,
        trust_remote_code=False,
        output_loading_info=True,
    )
    try:
        require_weights(info, lambda name: f"{INNER}{name}" in state)
    except UnfitModelError as error:
        raise ModelError(f"{config.name_or_path}: {error}") from error
    whole: Any = get_peft_model(plain, copy.deepcopy(model.peft_config["default"]))
    set_peft_model_state_dict(whole, state)
    return whole.merge_and_unload()
