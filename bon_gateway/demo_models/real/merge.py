"""A LoRA adapter that `bon-train reward` wrote, added to the model that it was trained on.

The environment of `make serve` has no peft. It is not needed for the kind of adapter that
`bon-train` writes by default; any other is refused.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from bon_gateway.demo_models.real.facts import TOKENIZER, WEIGHTS, RealModelError

ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
META = "rm_meta.json"
PREFIX = "base_model.model."
"""What peft puts before the names of the model's own modules."""
OUTPUT_LAYER = "lm_head.weight"
"""Of the policy; a reward model has its head instead."""
PLAIN: dict[str, Any] = {
    "peft_type": "LORA",
    "bias": "none",
    "fan_in_fan_out": False,
    "lora_bias": False,
    "use_dora": False,
    "use_rslora": False,
    "alpha_pattern": {},
    "rank_pattern": {},
}
"""What `merged_weights` takes for granted; a file without such a key has this value."""


def merge(base: Path, adapter: Path, out: Path) -> None:
    """Write the reward model to the folder `out`, which exists.

    Raises RealModelError for an adapter of another kind or of another model.

    The weights are float32, as they were trained: bfloat16 would round away a part of what the
    adapter adds, and the rewards would not be those of its card.
    """
    try:
        parts = load_file(adapter / ADAPTER_WEIGHTS)
        weights = merged_weights(load_file(base / WEIGHTS), parts, _scale(adapter))
        labels = [str(one["name"]) for one in _read(adapter / META)["dimensions"]]
        save_file(weights, out / WEIGHTS, {"format": "pt"})
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        # Of a full disk too: the library has one error for all.
        reason = " ".join(str(error).split())
        raise RealModelError(f"{adapter} cannot be merged: {reason}") from error
    config = _config(_read(base / "config.json"), labels)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(adapter / META, out / META)
    for name in TOKENIZER:
        # An adapter was trained with the template that it brings. One may also stand in a
        # tokenizer's configuration, and then has no file.
        found = [folder / name for folder in (adapter, base) if (folder / name).is_file()]
        if found:
            shutil.copyfile(found[0], out / name)


def merged_weights(
    base: dict[str, Tensor], adapter: dict[str, Tensor], scale: float
) -> dict[str, Tensor]:
    """`W + scale * B A` in float32 for every matrix with an adapter; what was trained whole (the
    head) takes its own place. Raises RealModelError unless every tensor of the adapter is used."""
    weights = {name: tensor.float() for name, tensor in base.items() if name != OUTPUT_LAYER}
    parts = {name.removeprefix(PREFIX): tensor.float() for name, tensor in adapter.items()}
    for name, tensor in parts.items():
        module, _, part = name.partition(".lora_")
        weight, other = f"{module}.weight", f"{module}.lora_B.weight"
        if not part:
            weights[name] = tensor
        elif part not in ("A.weight", "B.weight") or weight not in weights or other not in parts:
            raise RealModelError(f"the adapter's {name} fits nothing in the model")
        elif part == "A.weight":
            added = (parts[other] @ tensor) * scale
            if added.shape != weights[weight].shape:
                raise RealModelError(f"the adapter's {name} has another size than the model")
            weights[weight] = weights[weight] + added
    return weights


def _scale(adapter: Path) -> float:
    config = _read(adapter / ADAPTER_CONFIG)
    for name, value in PLAIN.items():
        if config.get(name, value) != value:
            raise RealModelError(f"{adapter}: an adapter with {name} {config[name]!r}")
    return float(config["lora_alpha"]) / float(config["r"])


def _config(base: dict[str, Any], labels: list[str]) -> dict[str, Any]:
    [policy] = base["architectures"]
    return {
        **base,
        "architectures": [policy.replace("ForCausalLM", "ForSequenceClassification")],
        "dtype": "float32",
        "id2label": {str(number): name for number, name in enumerate(labels)},
        "label2id": {name: number for number, name in enumerate(labels)},
    }


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
