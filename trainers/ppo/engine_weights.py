"""Writes the policy as a folder of whole weights, with its LoRA adapters added in.

Every weight of the model is in the file under its own name, also an output layer that is tied to
the embedding. vLLM reloads layer by layer and rebuilds what it made from a layer's weights (its CPU
engine packs them for its matrix kernels) only for layers in the file: a tied output layer that is
left out would keep the packed copy of the old weights.

The policy itself is not changed: merging in place and taking the adapters out again would leave
rounding errors in the frozen base, more in each iteration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor

from bon_common.publish import publish
from trainers.base.files import PARTIAL, disk_errors


def whole_weights(policy: Any) -> dict[str, Tensor]:
    """The state of the model that the policy computes, under the names of the plain model."""
    if not isinstance(policy, PeftModel):
        return dict(policy.state_dict())
    model: Any = policy.get_base_model()
    state: dict[str, Tensor] = {}
    adapted = {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}
    for name, tensor in model.state_dict().items():
        if ".lora_" in name:
            continue
        plain = name.replace(".base_layer.", ".")
        owner = plain.rpartition(".")[0]
        if owner in adapted and plain.endswith(".weight"):
            state[plain] = _with_delta(tensor, adapted[owner], policy.active_adapters)
        else:
            state[plain] = tensor
    return state


@torch.no_grad()
def _with_delta(weight: Tensor, layer: Any, adapters: Sequence[str]) -> Tensor:
    """Sums in float32: a bfloat16 weight would lose small steps one by one."""
    total = weight.float()
    for adapter in adapters:
        total = total + layer.get_delta_weight(adapter).float()
    return total.to(weight.dtype)


def write_weights(policy: Any, folder: Path) -> None:
    """Replace `folder` by weights and configuration; RunError if the disk is full."""
    adapted = isinstance(policy, PeftModel)
    model = policy.get_base_model() if adapted else policy
    partial = folder.parent / f"{PARTIAL}{folder.name}"
    with disk_errors(str(folder)):
        model.save_pretrained(partial, state_dict=_untied(whole_weights(policy)))
        publish(partial, folder)


def _untied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give each tensor its own memory: of those that share it, `save_pretrained` keeps one."""
    seen: set[int] = set()
    own: dict[str, Tensor] = {}
    for name, tensor in state.items():
        own[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return own
