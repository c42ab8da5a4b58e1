"""The difference of a model to the one that it was tuned from, as a LoRA adapter of a given rank.

Of each matrix the largest singular values of its difference are kept: no other matrix of this rank
comes nearer (Eckart and Young 1936).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from torch import Tensor, nn

from trainers.base.errors import ModelError
from trainers.base.loading import load_pretrained
from trainers.export.settings import AdapterSettings
from trainers.export.source import CLASSES, ExportSource, Kind, kind_of

TASKS: dict[Kind, TaskType] = {"policy": TaskType.CAUSAL_LM, "reward model": TaskType.SEQ_CLS}
HEAD = "score"
ADAPTER = "default"
"""peft's name of a model's only adapter."""


@dataclass(frozen=True)
class Thinned:
    """A model's base under the adapter."""

    model: PeftModel
    kept: float
    """Share of the difference that the adapter holds, by squares, over all matrices."""


def thinned(source: ExportSource, settings: AdapterSettings, name: str) -> Thinned:
    """The base that `settings` name, with the adapter that makes it like the source.

    Raises ModelError for a base of another shape, one that differs in more than matrices, and one
    that does not differ.
    """
    base = _below(source, settings, name)
    theirs = dict(source.model.named_parameters())
    differences = {
        layer: theirs[layer] - weight.detach()
        for layer, weight in base.named_parameters()
        if not torch.equal(theirs[layer], weight)
    }
    linear = {f"{path}.weight" for path, one in base.named_modules() if isinstance(one, nn.Linear)}
    others = sorted(differences.keys() - linear)
    if others:
        raise ModelError(f"{name}: {others[0]} differs from {settings.base}; no adapter holds that")
    if not differences:
        raise ModelError(f"{name}: equal to {settings.base}, so there is nothing to write")
    config = LoraConfig(
        task_type=TASKS[source.kind],
        r=settings.r,
        lora_alpha=settings.r,
        target_modules=[layer.removesuffix(".weight") for layer in differences],
        modules_to_save=[HEAD] if source.kind == "reward model" else None,
    )
    model: Any = get_peft_model(base, config)
    # peft took the name from the copy, which is the source's.
    model.peft_config[ADAPTER].base_model_name_or_path = settings.base
    model.peft_config[ADAPTER].revision = settings.base_revision
    lost = whole = 0.0
    with torch.no_grad():
        for layer, difference in differences.items():
            up, down = factors(difference, settings.r)
            module = model.base_model.model.get_submodule(layer.removesuffix(".weight"))
            module.lora_A[ADAPTER].weight.copy_(down)
            module.lora_B[ADAPTER].weight.copy_(up)
            lost += float((difference - up @ down).square().sum())
            whole += float(difference.square().sum())
    return Thinned(model.eval(), 1 - lost / whole)


def factors(difference: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(rows, rank) and (rank, columns) whose product comes nearest to the matrix.

    Where the matrix has a smaller rank, the rest is 0. Both have the same norm, so that a short
    number format hurts neither more.
    """
    left, values, right = torch.linalg.svd(difference.detach(), full_matrices=False)
    roots = values[:rank].sqrt()
    up = difference.new_zeros(difference.shape[0], rank)
    down = difference.new_zeros(rank, difference.shape[1])
    up[:, : len(roots)] = left[:, :rank] * roots
    down[: len(roots)] = roots[:, None] * right[:rank]
    return up, down


def _below(source: ExportSource, settings: AdapterSettings, name: str) -> Any:
    """A copy of the source with the base's weights, but for the head, which the base may lack."""
    kind = kind_of(settings.base, settings.base_revision)
    loaded = load_pretrained(CLASSES[kind], settings.base, settings.base_revision)
    weights = loaded.state_dict()
    model = copy.deepcopy(source.model)
    for layer, weight in model.state_dict().items():
        if source.kind == "reward model" and layer.startswith(f"{HEAD}."):
            continue
        if layer not in weights or weights[layer].shape != weight.shape:
            raise ModelError(f"{name}: its {layer} has no like in {settings.base}")
        weight.copy_(weights[layer])
    return model
