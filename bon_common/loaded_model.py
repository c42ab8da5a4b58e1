"""Checks of a loaded model, for all programs: it is whole, and it fits its tokenizer.

transformers draws at random what a checkpoint lacks, and only logs it. The callers hand over what
the library gave them, so nothing here imports it.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

NAMED = 3
"""Weights that an error names; it counts the others."""


class UnfitModelError(ValueError):
    """The message is the reason alone; the caller names the model."""


def require_weights(
    info: Mapping[str, Any], may_lack: Callable[[str], bool] | None = None
) -> list[str]:
    """Raise UnfitModelError if any weight was made up, except those that `may_lack` allows.

    `info` is what `from_pretrained(..., output_loading_info=True)` gives beside the model. Returns
    the names of the allowed ones that were made up.
    """
    for name, stored, wanted in sorted(info["mismatched_keys"], key=str):
        raise UnfitModelError(
            f"{name} is {_shape(stored)} in the weights and {_shape(wanted)} in the model"
        )
    missing = sorted(info["missing_keys"])
    lacking = [name for name in missing if may_lack is None or not may_lack(name)]
    if lacking:
        more = len(lacking) - NAMED
        others = f" and {more} more" if more > 0 else ""
        raise UnfitModelError(f"the weights lack {', '.join(lacking[:NAMED])}{others}")
    return missing


def _shape(sizes: Any) -> str:
    return "x".join(str(int(size)) for size in sizes) or "a number"


def require_policy(config: Any) -> None:
    """Raise UnfitModelError for the configuration of a reward model.

    Where the output layer is the embedding, a reward model lacks no weight of a policy; it would
    load, and write nonsense.
    """
    names = [str(name) for name in getattr(config, "architectures", None) or ()]
    if names and all(name.endswith("ForSequenceClassification") for name in names):
        raise UnfitModelError(f"a reward model ({', '.join(names)}), not a policy")


def refuse_adapter(config: str | Path | None) -> None:
    """Raise UnfitModelError for an adapter's folder, by the path of its `adapter_config.json`.

    The library loads an adapter's base, head drawn at random, and reports only on the adapter.
    """
    if config is None:
        return
    try:
        base = json.loads(Path(config).read_text("utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):
        base = None
    raise UnfitModelError(
        f"an adapter of {base or 'a model that it does not name'}, not a whole model; "
        "`bon-train export` merges the two"
    )


def require_room(net: Any, tokenizer: Any) -> None:
    """Raise UnfitModelError if the tokenizer has ids for which the embedding has no row.

    Such an id is an index error in the middle of a run; on a GPU it ends the process.
    """
    rows = int(net.get_input_embeddings().weight.shape[0])
    largest = max(tokenizer.get_vocab().values(), default=0)
    if largest >= rows:
        raise UnfitModelError(
            f"the tokenizer has token ids up to {largest}, the embedding has {rows} rows"
        )


def position_limit(net: Any) -> int | None:
    """The most tokens that a network can read, or None if it has no limit of its own."""
    limit = getattr(net.config.get_text_config(), "max_position_embeddings", None)
    limit = limit if isinstance(limit, int) and limit > 0 else None
    for name, module in net.named_modules():
        if name.endswith("position_embeddings") and hasattr(module, "num_embeddings"):
            # RoBERTa counts positions from behind its padding id.
            reserved = 0 if module.padding_idx is None else module.padding_idx + 1
            rows = module.num_embeddings - reserved
            limit = rows if limit is None else min(limit, rows)
    return limit


def cache_name(net: Any) -> str:
    """What a network calls its key-value cache, as an argument and in its output.

    transformers has renamed it, and a network with code of its own may have the old name.
    """
    below = getattr(net, "get_base_model", None)  # an adapter's own arguments tell nothing
    forward = net.forward if below is None else below().forward
    return "cache" if "cache" in inspect.signature(forward).parameters else "past_key_values"


def keep_softcap(net: Any) -> None:
    """Let a network that caps its attention scores (Gemma 2) compute the cap.

    torch's own attention has none. Some versions of the library leave the cap out without a word,
    and later ones refuse to compute.
    """
    config = net.config
    cap = getattr(config.get_text_config(), "attn_logit_softcapping", None)
    if cap is not None and config._attn_implementation == "sdpa":  # noqa: SLF001 - has no getter
        net.set_attn_implementation("eager")
